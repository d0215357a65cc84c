"""Speed of a model in each runtime, and agreement of its embeddings with plain MXNet's."""
