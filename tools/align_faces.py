"""Find the faces of raw photos and align them: the command `insight align-faces`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
