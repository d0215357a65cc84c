"""Pictures of how cosines are spread, with the threshold that was applied. Needs matplotlib."""

from __future__ import annotations

import os
from typing import NamedTuple, Sequence

import numpy as np

from ..errors import InsightError
from ..formats.atomic import temporary_beside

SUFFIXES = (".png", ".svg")
BIN = 0.02


class Spread(NamedTuple):
    """One panel: what the cosines are of, the cosines (N,), and the threshold."""

    title: str
    cosines: np.ndarray
    threshold: float


def require(path: str) -> None:
    """Say before hours of work that a picture cannot be drawn.

    Raises
    ------
    InsightError
        The suffix is neither .png nor .svg, or matplotlib is not installed.
    """
    if os.path.splitext(path)[1].lower() not in SUFFIXES:
        raise InsightError(f"--histogram {path}: the suffix says how to draw, want {' or '.join(SUFFIXES)}")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise InsightError("--histogram: needs matplotlib, which is not installed; pip install -e '.[plots]'") from None


def draw(path: str, spreads: Sequence[Spread]) -> None:
    """Draw histograms, one below the other, counts on a logarithmic axis; the suffix says the format."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    kind = os.path.splitext(path)[1].lower()[1:]
    figure = Figure(figsize=(8, 3.2 * len(spreads)), layout="constrained")
    for axes, spread in zip(figure.subplots(len(spreads), squeeze=False)[:, 0], spreads):
        cosines = spread.cosines[np.isfinite(spread.cosines)]
        low = np.floor(min(cosines.min(initial=0.0), 0.0) / BIN) * BIN
        axes.hist(cosines, bins=np.arange(low, 1 + 2 * BIN, BIN), color="tab:blue")
        axes.axvline(spread.threshold, color="tab:red")
        at_least = int((cosines >= spread.threshold).sum())
        axes.set_title(f"{spread.title}: {at_least} of {len(cosines)} at {spread.threshold:g} or above", fontsize=10)
        axes.set_xlabel("cosine")
        axes.set_ylabel("number")
        axes.set_yscale("symlog", linthresh=1)
        axes.set_xlim(low, 1 + BIN)
    stamp = "Date" if kind == "svg" else "Software"
    with temporary_beside(path) as partial, rc_context({"svg.hashsalt": "insight"}):
        figure.savefig(partial, format=kind, dpi=100, metadata={stamp: None})
