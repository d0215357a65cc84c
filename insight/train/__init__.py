"""LOSS -> STEPS: the trainer. ``loop.train`` is the whole of it on one page."""
