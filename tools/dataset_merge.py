"""Merge record sets into one: the command `insight dataset-merge`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
