"""Confidence intervals of verification metrics by the percentile bootstrap.

If the identities are known, identities are resampled with replacement. A same pair of an identity drawn m times has
weight m; a different pair of identities drawn m and n times has weight m * n (the vertex bootstrap of Snijders and
Borgatti, "Non-parametric standard errors and tests for network statistics", 1999). Pairs that share an identity are
not independent, so these intervals are wider and more realistic than those from resampled pairs. If the identities are
unknown, as in a .bin, same pairs and different pairs are resampled separately.
"""

from __future__ import annotations

from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from . import roc as curves
from .folds import accuracy_of_cells, cells

LEVEL = 0.95


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


class Band(NamedTuple):
    """Pointwise 95 % intervals at G points, (G,) float64 each; NaN if no resample has pairs of both kinds."""

    low_G: np.ndarray
    high_G: np.ndarray


class Intervals(NamedTuple):
    """Confidence intervals of all metrics; ``None`` if no resample has pairs of both kinds."""

    over: str  # what is resampled: "identities" or "pairs"
    resamples: int
    seed: int
    accuracy: Optional[Interval]  # K-fold; each pair stays in its fold
    eer: Optional[Interval]
    auc: Optional[Interval]
    tar: Dict[float, Optional[Interval]]  # by FAR


def intervals(
    distance_P: np.ndarray,
    issame_P: np.ndarray,
    folds: int,
    identity_P2: Optional[np.ndarray] = None,
    fars: Sequence[float] = (),
    resamples: int = 1000,
    seed: int = 0,
) -> Intervals:
    """Compute bootstrap intervals of all metrics. The result is deterministic for a given seed.

    Parameters
    ----------
    distance_P : (P,) float
        Squared L2 distances.
    issame_P : (P,) bool
        Must contain both values.
    folds : int
        Number of folds of the accuracy. The thresholds are chosen again in each resample.
    identity_P2 : (P, 2) int, optional
        Identities of the two images of each pair, numbered from 0. By default pairs are resampled.
    fars : sequence of float
        FARs at which TAR is measured.
    resamples : int
        Number of resamples.
    seed : int
        Resample r uses a generator seeded with (seed, r).
    """
    drawn = drawn_figures(distance_P, issame_P, folds, identity_P2, fars, resamples, seed)
    ends = interval_of_each(drawn)
    over = "pairs" if identity_P2 is None else "identities"
    return Intervals(over, resamples, seed, ends[0], ends[1], ends[2], dict(zip(fars, ends[3:])))


def drawn_figures(
    distance_P: np.ndarray,
    issame_P: np.ndarray,
    folds: int,
    identity_P2: Optional[np.ndarray] = None,
    fars: Sequence[float] = (),
    resamples: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Compute the metrics of each resample.

    Resample r does not depend on the distances, so the rows of two models on the same pairs are paired samples.

    Parameters
    ----------
    distance_P, issame_P, folds, identity_P2, fars, resamples, seed
        As in :func:`intervals`.

    Returns
    -------
    numpy.ndarray
        (R, 3 + F) float64: accuracy, EER, AUC, and TAR at each FAR. The row of a resample that lacks pairs of one kind
        is NaN.
    """
    cell_P = cells(distance_P, folds)
    curve = curves.roc_curve(distance_P, issame_P)
    drawn = np.full((resamples, 3 + len(fars)), np.nan)
    for r, weight_P, weighted in _resampled(curve, identity_P2, resamples, seed):
        tar_C = weighted.tar_C
        drawn[r] = [
            accuracy_of_cells(cell_P, issame_P, folds, weight_P).accuracy,
            curves.equal_error_rate(weighted),
            curves.auc(weighted),
            *(tar_C[curves.cut_at_far(weighted, far)] for far in fars),
        ]
    return drawn


def interval_of_each(drawn_RF: np.ndarray) -> List[Optional[Interval]]:
    """The interval of each column of (R, F) metrics. NaN is ignored; None for a column that has only NaN."""
    return [_interval(column) for column in drawn_RF.T]


def tar_band(
    curve: curves.Roc,
    far_G: np.ndarray,
    identity_P2: Optional[np.ndarray] = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Band:
    """Pointwise intervals of TAR along a ROC curve, from the same resamples as those of :func:`intervals`.

    Parameters
    ----------
    curve : Roc
    far_G : (G,) float
        FARs at which TAR is measured. For each, the largest threshold whose FAR does not exceed it is used.
    identity_P2, resamples, seed
        As in :func:`intervals`.

    Returns
    -------
    Band
        NaN at all points if no resample has pairs of both kinds.
    """
    drawn = np.full((resamples, len(far_G)), np.nan)
    for r, _, weighted in _resampled(curve, identity_P2, resamples, seed):
        drawn[r] = curves.tar_at(weighted, far_G)
    drawn = drawn[np.isfinite(drawn).all(axis=1)]
    if not len(drawn):
        return Band(np.full(len(far_G), np.nan), np.full(len(far_G), np.nan))
    return Band(*np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0))


def _resampled(
    curve: curves.Roc, identity_P2: Optional[np.ndarray], resamples: int, seed: int
) -> Iterator[Tuple[int, np.ndarray, curves.Roc]]:
    """Yield (number, weights of the pairs (P,), weighted ROC) of each resample that has pairs of both kinds."""
    for r in range(resamples):
        weight_P = _draw(np.random.default_rng((seed, r)), curve.issame_P, identity_P2)
        weighted = curves.reweighted(curve, weight_P)
        if weighted.true_accepts_C[-1] and weighted.false_accepts_C[-1]:
            yield r, weight_P, weighted


def _draw(rng: np.random.Generator, issame_P: np.ndarray, identity_P2: Optional[np.ndarray]) -> np.ndarray:
    """Draw one resample: (P,) float64 weights of the pairs."""
    if identity_P2 is not None:
        times = _with_replacement(rng, int(identity_P2.max()) + 1)
        first_P, second_P = times[identity_P2[:, 0]], times[identity_P2[:, 1]]
        return np.where(issame_P, first_P, first_P * second_P)
    weight_P = np.empty(len(issame_P))
    for chosen_P in (issame_P, ~issame_P):
        weight_P[chosen_P] = _with_replacement(rng, int(chosen_P.sum()))
    return weight_P


def _with_replacement(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.bincount(rng.integers(0, count, count), minlength=count).astype(np.float64)


def _interval(values: np.ndarray) -> Optional[Interval]:
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    ends: Tuple[float, ...] = tuple(np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist())
    return Interval(*ends)
