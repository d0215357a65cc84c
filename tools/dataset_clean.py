"""Clean a record set: the command `insight dataset-clean`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
