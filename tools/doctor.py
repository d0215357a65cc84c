"""Report what this machine can run: the command `insight doctor`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
