"""Plots. matplotlib (the extra ``plots``) is imported only when a plot is drawn."""
