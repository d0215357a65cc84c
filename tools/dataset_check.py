"""Find what is wrong with a record set: the command `insight dataset-check`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
