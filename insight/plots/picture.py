"""A figure as a file, .png or .svg by its suffix; the same figure gives the same bytes. Needs matplotlib."""

from __future__ import annotations

import os

from ..errors import InsightError
from ..files.atomic import temporary_beside

SUFFIXES = (".png", ".svg")


def require(path, option: str = "--output") -> None:
    """Raise before any work if a picture cannot be drawn.

    Raises
    ------
    InsightError
        The suffix is neither .png nor .svg, or matplotlib is not installed.
    """
    if _suffix(path) not in SUFFIXES:
        raise InsightError(f"{option} {path}: the suffix says how to draw, want {' or '.join(SUFFIXES)}")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise InsightError(f"{option}: needs matplotlib, which is not installed; pip install -e '.[plots]'") from None


def save(figure, path, dpi: int) -> None:
    """Write a matplotlib Figure, whole or not at all; ``dpi`` is for a .png."""
    from matplotlib import rc_context

    kind = _suffix(path)[1:]
    stamp = "Date" if kind == "svg" else "Software"  # differs between two runs
    with temporary_beside(path) as partial, rc_context({"svg.hashsalt": "insight"}):
        figure.savefig(partial, format=kind, dpi=dpi, metadata={stamp: None})


def _suffix(path) -> str:
    return os.path.splitext(path)[1].lower()
