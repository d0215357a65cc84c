"""Plots of measurements. matplotlib (the extra ``plots``) is imported when one is drawn."""
