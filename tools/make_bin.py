"""Make a verification .bin: the command `insight make-bin`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
