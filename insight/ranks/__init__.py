"""Processes of a run: a single one, or several connected by Horovod."""
