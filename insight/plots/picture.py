"""Save figures as .png or .svg files, deterministically. Requires matplotlib."""

from __future__ import annotations

import os

from ..errors import InsightError
from ..files.atomic import temporary_beside

SUFFIXES = (".png", ".svg")


def require(path, option: str = "--output") -> None:
    """Check that a picture can be written, before anything else is done.

    Raises
    ------
    InsightError
        The suffix is neither .png nor .svg, or matplotlib is not installed.
    """
    if _suffix(path) not in SUFFIXES:
        raise InsightError(f"{option} {path}: the suffix determines the format; want {' or '.join(SUFFIXES)}")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise InsightError(f"{option}: needs matplotlib, which is not installed; pip install -e '.[plots]'") from None


def save(figure, path, dpi: int) -> None:
    """Write a matplotlib Figure atomically. ``dpi`` applies to .png only."""
    from matplotlib import rc_context

    kind = _suffix(path)[1:]
    stamp = "Date" if kind == "svg" else "Software"  # metadata with date or version, left out
    with temporary_beside(path) as partial, rc_context({"svg.hashsalt": "insight"}):
        figure.savefig(partial, format=kind, dpi=dpi, metadata={stamp: None})


def _suffix(path) -> str:
    return os.path.splitext(path)[1].lower()
