"""Reduce a checkpoint to the layers needed for inference: the command `insight model-slim`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
