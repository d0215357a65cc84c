"""Evaluate a model on verification sets: the command `insight verification`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
