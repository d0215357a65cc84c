"""Fine-tune a network with triplets: the command `insight train-triplet`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
