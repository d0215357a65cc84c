"""Random sample of the classes that a step uses (``--sample-rate``): the classes of the batch, and others.

The sample is a function of the seed, the step and the classes of the batch. It does not depend on the number of ranks.
Classes are drawn in cells of consecutive classes, the same fraction of each cell up to one class. Therefore a rank
needs to draw only in the cells that overlap its own range.

Source: partial FC, arXiv:2010.05222, which draws a fixed number of classes on each rank, starting with those of the
batch (recognition/partial_fc of deepinsight/insightface).
"""

from __future__ import annotations

import numpy as np

CELL = 1 << 16  # classes per cell
OFFSET, KEYS = 0xD0, 0xD1  # last words of the generators' seeds; insight.feed.draws lists those of others


def count(classes: int, rate: float) -> int:
    """Number of classes that a step draws, unless the batch has more classes of one cell than that cell's share."""
    return max(1, round(classes * rate))


def draw(
    seed: int, step: int, classes: int, rate: float, positives: np.ndarray, begin: int = 0, end: int = 0
) -> np.ndarray:
    """Classes that a step draws from a range.

    Parameters
    ----------
    seed : int
        Seed of the run.
    step : int
        0-based, counted over the whole run.
    classes : int
        Number of classes over all ranks.
    rate : float
        Fraction of the classes to draw, 0 < rate <= 1.
    positives : numpy.ndarray of int64
        Classes of the whole batch, ascending and unique. All of them are drawn, and count towards the fraction.
    begin, end : int
        Range of classes to return; an ``end`` of 0 stands for ``classes``.

    Returns
    -------
    numpy.ndarray of int64
        Classes, ascending and unique.
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
    """Draw ``wanted`` numbers below ``size``, which include all of ``own``; ascending."""
    if wanted == size:
        return np.arange(size)
    if wanted == len(own):
        return own
    keys = np.random.default_rng(seed).random(size)
    keys[own] = -1.0
    largest = np.partition(keys, wanted - 1)[wanted - 1]
    drawn = np.flatnonzero(keys <= largest)  # six times as fast as argpartition and a sort
    if len(drawn) == wanted:
        return drawn
    return np.sort(np.argsort(keys, kind="stable")[:wanted])  # ties with the largest key
