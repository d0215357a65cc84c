"""Convert Glint landmark lists to a .lst: the command `insight glint2lst`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
