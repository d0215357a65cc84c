"""Plot the distributions of the cosines of same and different pairs."""

from __future__ import annotations

from typing import Sequence, Tuple

import numpy as np

from .style import INK, MAIN, OTHER, log_axis, name_above, plain_axes

BIN = 0.02  # width of a bin
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 3)))


def spread(same_S: np.ndarray, different_D: np.ndarray, thresholds: Sequence[Tuple[str, float]]):
    """Draw histograms of same and different pairs, with counts on a logarithmic axis. Returns a matplotlib Figure.

    Parameters
    ----------
    same_S, different_D : (S,), (D,) float
        Cosines of the pairs.
    thresholds : sequence of (str, float)
        Names and cosines, drawn as vertical lines. Only the first seven are drawn.
    """
    figure, axes = plain_axes()
    low = np.floor(min(same_S.min(), different_D.min(), 0.0) / BIN) * BIN
    edges = np.arange(low, 1 + 2 * BIN, BIN)
    for values, colour, name in ((different_D, OTHER, "different"), (same_S, MAIN, "same")):
        axes.hist(values, edges, histtype="stepfilled", fc=(colour, 0.3), ec=colour, linewidth=1.1, label=name)
    for (name, cosine), dashes in zip(thresholds, _DASHES):
        axes.axvline(cosine, color=INK, linestyle=dashes, linewidth=1.1, label=name)
    log_axis(axes.yaxis, 0.7, 1.3 * axes.get_ylim()[1])  # starts below one pair
    axes.set_xlim(low, 1 + BIN)
    axes.set_xlabel("cosine")
    axes.set_ylabel("pairs")
    name_above(figure, 3)
    return figure
