"""Error rates of a verification: ROC (TAR over FAR), DET (FRR = 1 - TAR over FAR), and both over the threshold."""

from __future__ import annotations

from typing import NamedTuple, Optional

import numpy as np

from .style import FAINT, MAIN, OTHER, log_axis, name_above, plain_axes


class RatesOver(NamedTuple):
    """TAR at G rising FARs, the first 1 / D, with the ends of the band if there is one.

    ``same`` and ``different`` count the pairs of either kind; ``different`` is D.
    """

    far_G: np.ndarray
    tar_G: np.ndarray
    low_G: Optional[np.ndarray]
    high_G: Optional[np.ndarray]
    same: int
    different: int


def roc(rates: RatesOver):
    """TAR over FAR as a matplotlib Figure; FAR begins at one false accept."""
    figure, axes = plain_axes()
    lowest = min(float(rates.tar_G.min()), 1 - 1 / rates.same)  # one false reject takes some of the axis
    if rates.low_G is not None:
        _band(axes, rates.far_G, rates.low_G, rates.high_G)
        lowest = min(lowest, float(rates.low_G.min()))
    axes.plot(rates.far_G, rates.tar_G, drawstyle="steps-post", color=MAIN, linewidth=1.6)
    _far_axis(axes, rates)
    room = 0.06 * max(1 - lowest, 1e-4)
    axes.set_ylim(lowest - room, 1 + room)
    axes.yaxis.get_major_formatter().set_useOffset(False)
    axes.set_ylabel("TAR")
    return figure


def det(rates: RatesOver):
    """FRR over FAR as a matplotlib Figure, both logarithmic; an FRR of 0 is drawn at the bottom."""
    figure, axes = plain_axes()
    floor = 0.5 / rates.same  # half a false reject: no set of so many pairs shows it
    frr_G = np.maximum(1 - rates.tar_G, floor)
    top = float(frr_G.max())
    if rates.low_G is not None:
        high_G = np.maximum(1 - rates.low_G, floor)
        _band(axes, rates.far_G, np.maximum(1 - rates.high_G, floor), high_G)
        top = max(top, float(high_G.max()))
    axes.plot(rates.far_G, frr_G, drawstyle="steps-post", color=MAIN, linewidth=1.6, label="FRR")
    axes.plot([1e-9, 1], [1e-9, 1], linestyle=":", color=FAINT, linewidth=1.4, label="FRR = FAR")
    _far_axis(axes, rates)
    log_axis(axes.yaxis, floor, max(10 * floor, min(1.0, 1.3 * top)))  # a power of ten is among them
    axes.set_ylabel("FRR")
    name_above(figure, 2)
    return figure


def over_threshold(cosine_T: np.ndarray, far_T: np.ndarray, frr_T: np.ndarray, floor: float):
    """FAR and FRR over the threshold, a cosine, as a matplotlib Figure; rates below ``floor`` are 0."""
    figure, axes = plain_axes()
    for rate_T, colour, name in ((far_T, OTHER, "FAR"), (frr_T, MAIN, "FRR")):
        axes.plot(cosine_T, np.maximum(rate_T, floor), color=colour, linewidth=1.6, label=name)
    log_axis(axes.yaxis, floor, 1.0)
    axes.set_xlim(cosine_T[0], cosine_T[-1])
    axes.set_xlabel("threshold, cosine")
    axes.set_ylabel("rate")
    name_above(figure, 2)
    return figure


def _far_axis(axes, rates: RatesOver) -> None:
    log_axis(axes.xaxis, min(float(rates.far_G[0]), 0.5), 1.0)  # a single different pair gives no range
    axes.set_xlabel("FAR")


def _band(axes, far_G: np.ndarray, low_G: np.ndarray, high_G: np.ndarray) -> None:
    axes.fill_between(far_G, low_G, high_G, step="post", color=MAIN, alpha=0.18, linewidth=0)
