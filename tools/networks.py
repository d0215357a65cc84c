"""List the networks and their sizes: the command `insight networks`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
