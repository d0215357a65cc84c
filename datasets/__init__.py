"""Public sets described (cards/), and a set of made-up faces drawn (:mod:`insight.datasets.made_up`)."""
