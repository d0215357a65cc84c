"""The processes of a run: one, or several that Horovod connects."""
