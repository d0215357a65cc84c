"""Histograms of cosines with a threshold. Requires matplotlib."""

from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np

from .picture import save

BIN = 0.02  # width of a bin


class Spread(NamedTuple):
    """One panel: title, cosines (N,) and threshold."""

    title: str
    cosines: np.ndarray
    threshold: float


def draw(path: str, spreads: Sequence[Spread]) -> None:
    """Draw one histogram per panel, with counts on a logarithmic axis, as PNG or SVG depending on the suffix."""
    from matplotlib.figure import Figure

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
    save(figure, path, dpi=100)
