"""Write a checkpoint for ncnn: the command `insight export-ncnn`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
