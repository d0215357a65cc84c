"""Print a script by which a shell completes commands and options: the command `insight completion`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
