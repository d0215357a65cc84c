"""Evaluate 1:N identification: the command `insight identification`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
