"""Write an HTML page on a model and its model card: the command `insight report`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
