"""Draw a data set of made-up faces: the command `insight made-up-faces`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
