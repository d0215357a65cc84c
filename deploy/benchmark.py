"""How fast a model is in each runtime: the command `insight benchmark`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
