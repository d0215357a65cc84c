"""Benchmark of models: speed in each runtime, and agreement of the embeddings with those of plain MXNet."""
