"""Evaluate MegaFace: the command `insight megaface`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
