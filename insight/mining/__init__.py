"""Triplets of embeddings: which are picked, their loss and its gradient. NumPy only."""
