"""Generator of a data set of made-up faces (:mod:`insight.made_up.writer`)."""
