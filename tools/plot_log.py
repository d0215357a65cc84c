"""Draw curves of training runs: the command `insight plot-log`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
