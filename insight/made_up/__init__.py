"""Public sets described (cards/), and a set of made-up faces drawn (:mod:`insight.made_up.writer`)."""
