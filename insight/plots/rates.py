"""Plots of verification error rates: ROC (TAR over FAR), DET (FRR = 1 - TAR over FAR), and rates over the threshold."""

from __future__ import annotations

from typing import NamedTuple, Optional

import numpy as np

from .style import FAINT, MAIN, OTHER, log_axis, name_above, plain_axes


class RatesOver(NamedTuple):
    """TAR at G FARs, with an optional confidence band."""

    far_G: np.ndarray  # (G,) float, ascending; the first is 1 / different
    tar_G: np.ndarray  # (G,) float
    low_G: Optional[np.ndarray]  # (G,) float, lower end of the band
    high_G: Optional[np.ndarray]  # (G,) float, upper end of the band
    same: int  # number of same pairs
    different: int  # number of different pairs


def roc(rates: RatesOver):
    """Plot TAR over FAR, from the FAR of one false accept. Returns a matplotlib Figure."""
    figure, axes = plain_axes()
    lowest = min(float(rates.tar_G.min()), 1 - 1 / rates.same)  # so that one false reject is visible
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
    """Plot FRR over FAR on logarithmic axes. An FRR of 0 is drawn on the bottom line. Returns a matplotlib Figure."""
    figure, axes = plain_axes()
    floor = 0.5 / rates.same  # half a false reject, which is below any FRR that can be measured on the set except 0
    frr_G = np.maximum(1 - rates.tar_G, floor)
    top = float(frr_G.max())
    if rates.low_G is not None:
        high_G = np.maximum(1 - rates.low_G, floor)
        _band(axes, rates.far_G, np.maximum(1 - rates.high_G, floor), high_G)
        top = max(top, float(high_G.max()))
    axes.plot(rates.far_G, frr_G, drawstyle="steps-post", color=MAIN, linewidth=1.6, label="FRR")
    axes.plot([1e-9, 1], [1e-9, 1], linestyle=":", color=FAINT, linewidth=1.4, label="FRR = FAR")
    _far_axis(axes, rates)
    log_axis(axes.yaxis, floor, max(10 * floor, min(1.0, 1.3 * top)))  # at least one power of ten
    axes.set_ylabel("FRR")
    name_above(figure, 2)
    return figure


def over_threshold(cosine_T: np.ndarray, far_T: np.ndarray, frr_T: np.ndarray, floor: float):
    """Plot FAR and FRR over the threshold. Returns a matplotlib Figure.

    Parameters
    ----------
    cosine_T : (T,) float
        Thresholds, ascending.
    far_T, frr_T : (T,) float
    floor : float
        Bottom of the logarithmic axis; smaller rates, such as 0, are drawn there.
    """
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
    log_axis(axes.xaxis, min(float(rates.far_G[0]), 0.5), 1.0)  # 0.5, because the axis would be empty with one pair
    axes.set_xlabel("FAR")


def _band(axes, far_G: np.ndarray, low_G: np.ndarray, high_G: np.ndarray) -> None:
    axes.fill_between(far_G, low_G, high_G, step="post", color=MAIN, alpha=0.18, linewidth=0)
