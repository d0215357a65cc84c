"""GRADIENT -> STEPS: training of a network. Start reading at :func:`insight.train.loop.train`."""
