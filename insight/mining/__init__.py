"""Triplets of embeddings: mining, loss and gradient. Uses NumPy only."""
