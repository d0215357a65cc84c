"""Write raw embeddings as .npz: the command `insight embed`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
