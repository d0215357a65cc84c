"""Cut a checkpoint down to what ships: the command `insight model-slim`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
