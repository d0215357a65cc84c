"""Evaluate IJB-B or IJB-C: the command `insight ijb`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
