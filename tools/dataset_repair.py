"""Repair a record set: the command `insight dataset-repair`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
