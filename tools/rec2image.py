"""Write the images of a set as files: the command `insight rec2image`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
