"""TRAINED NETWORK -> WHAT ANOTHER ONE LEARNS FROM: the embeddings that a teacher gives of a training set."""
