"""Measure the speed of a model in each runtime: the command `insight benchmark`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
