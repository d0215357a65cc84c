"""Colours and axes of figures in pages."""

from __future__ import annotations

MAIN, OTHER = "#2f6db0", "#c4622d"  # distinguishable with red-green colour blindness
INK, FAINT = "#1d2129", "#9aa1ab"
SIZE = (4.7, 3.3)  # inches; text of FONT_SIZE is still legible if a phone scales the figure to about 340 pixels
FONT_SIZE = 9  # points


def plain_axes():
    """Create a matplotlib Figure with one panel. Returns (Figure, Axes)."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"font.size": FONT_SIZE, "axes.edgecolor": FAINT}):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
    axes.grid(True, linewidth=0.5, alpha=0.35)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def log_axis(axis, low: float, high: float) -> None:
    """Make an axis logarithmic from ``low`` to ``high``, with powers of ten labelled as in the tables: 1e-3."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes = axis.axes
    across = axis is axes.xaxis
    (axes.set_xscale if across else axes.set_yscale)("log")
    (axes.set_xlim if across else axes.set_ylim)(low, high)
    axis.set_major_locator(LogLocator(10))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _power(value)))
    axis.set_minor_formatter(NullFormatter())


def name_above(figure, columns: int) -> None:
    """Add a legend above the axes, where it covers no data."""
    figure.legend(loc="outside upper center", ncols=columns, frameon=False, fontsize=FONT_SIZE - 0.5)


def _power(value: float) -> str:
    return f"{value:.0f}" if value >= 1 else f"{value:.0e}".replace("e-0", "e-")
