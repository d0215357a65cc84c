"""Which classes a step computes with (``--sample-rate``): those of the batch, and others at random.

A draw is a function of the seed, the step and the batch's classes, over all classes: how many ranks there are, and
which of them has a class, does not matter. It is made in cells of classes, of each the same share up to one class, so
that a rank draws what it has and no more.

Source: partial FC, arXiv:2010.05222, which draws a fixed number of classes on each rank, those of the batch first
(recognition/partial_fc of deepinsight/insightface).
"""

from __future__ import annotations

import numpy as np

CELL = 1 << 16  # classes
OFFSET, KEYS = 0xD0, 0xD1  # last words of the generators' seeds; insight.feed.draws lists those of others


def count(classes: int, rate: float) -> int:
    """How many of so many classes a step draws, if the batch has no more of one cell than are drawn of it."""
    return max(1, round(classes * rate))


def draw(
    seed: int, step: int, classes: int, rate: float, positives: np.ndarray, begin: int = 0, end: int = 0
) -> np.ndarray:
    """The classes that a step draws of a range.

    Parameters
    ----------
    seed : int
        Of the run.
    step : int
        0-based, counted over the whole run.
    classes : int
        Of the whole set.
    rate : float
        The share that is drawn, above 0 and at most 1.
    positives : numpy.ndarray of int64
        Classes of the whole batch, ascending, each once. All of them are drawn, and count as drawn.
    begin, end : int
        The range; an ``end`` of 0 is that of all classes.

    Returns
    -------
    numpy.ndarray of int64
        Ascending, each once.
    """
    end = end or classes
    wanted = count(classes, rate)
    offset = int(np.random.default_rng([seed, step, OFFSET]).integers(classes))
    parts = []
    for cell in range(begin // CELL, -(-end // CELL)):
        low, high = cell * CELL, min((cell + 1) * CELL, classes)
        quota = (high * wanted + offset) // classes - (low * wanted + offset) // classes
        own = positives[np.searchsorted(positives, low) : np.searchsorted(positives, high)] - low
        parts.append(low + _of_cell([seed, step, cell, KEYS], high - low, max(quota, len(own)), own))
    drawn = np.concatenate(parts)
    return drawn[np.searchsorted(drawn, begin) : np.searchsorted(drawn, end)]


def _of_cell(seed: list, size: int, wanted: int, own: np.ndarray) -> np.ndarray:
    """``wanted`` of the numbers below ``size``, ascending; ``own`` are among them."""
    if wanted == size:
        return np.arange(size)
    if wanted == len(own):
        return own
    keys = np.random.default_rng(seed).random(size)
    keys[own] = -1.0
    largest = np.partition(keys, wanted - 1)[wanted - 1]
    drawn = np.flatnonzero(keys <= largest)  # a sixth of the time of argpartition and a sort
    if len(drawn) == wanted:
        return drawn
    return np.sort(np.argsort(keys, kind="stable")[:wanted])  # equal keys
