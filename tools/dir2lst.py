"""List the images of identity folders in a .lst: the command `insight dir2lst`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
