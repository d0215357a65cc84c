"""Train a network with a softmax-type loss: the command `insight train-softmax`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
