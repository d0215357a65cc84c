"""TRAINED NETWORK -> TARGETS FOR ANOTHER ONE: a teacher's embeddings of a training set, for distillation."""
