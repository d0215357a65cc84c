"""Confidence intervals for the figures of a verification, by the percentile bootstrap.

If the identities are known, they are drawn with replacement: a person drawn m times counts m times in the same
pairs, and two persons drawn m and n times count m n times in their different pairs (the vertex bootstrap of Snijders
and Borgatti, "Non-parametric standard errors and tests for network statistics", 1999). Pairs that share a person are
not independent, so these intervals are wider, and more realistic, than those from drawing pairs. If the identities are
unknown, as in a .bin, pairs are drawn, separately for same and different ones.
"""

from __future__ import annotations

from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from . import roc as curves
from .folds import accuracy_of_cells, cells

LEVEL = 0.95


class Interval(NamedTuple):
    """Ends of a 95 % interval."""

    low: float
    high: float


class Band(NamedTuple):
    """Ends of a 95 % interval at each of G points, NaN where no resample had pairs of both kinds."""

    low_G: np.ndarray
    high_G: np.ndarray


class Intervals(NamedTuple):
    """An interval for each figure; ``None`` where no resample had pairs of both kinds."""

    over: str  # the units that are drawn: identities or pairs
    resamples: int
    seed: int
    accuracy: Optional[Interval]  # K-fold, with the pairs' own folds
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
    """Bootstrap the figures; the same seed gives the same intervals.

    Parameters
    ----------
    distance_P : (P,) float
        Squared L2 distances.
    issame_P : (P,) bool
        Must contain both values.
    folds : int
        Folds of the accuracy; its threshold is chosen again in each resample.
    identity_P2 : (P, 2) int, optional
        Identities of the two images of each pair, 0 and up.
    fars : sequence of float
        FARs at which TAR is measured.
    resamples, seed : int
        Resample r draws from (seed, r).
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
    """The figures of each resample. What resample r draws does not depend on the distances, so the rows of two models
    on the same pairs belong together.

    Parameters
    ----------
    distance_P, issame_P, folds, identity_P2, fars, resamples, seed
        As in :func:`intervals`.

    Returns
    -------
    numpy.ndarray
        (R, 3 + F) float64: accuracy, EER, AUC, and TAR at each FAR; NaN for a resample without pairs of both kinds.
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
    """The interval of each column of (R, F) figures, without rows of NaN; None where no row is left."""
    return [_interval(column) for column in drawn_RF.T]


def tar_band(
    curve: curves.Roc,
    far_G: np.ndarray,
    identity_P2: Optional[np.ndarray] = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Band:
    """Pointwise intervals of TAR along a curve, from the resamples that :func:`intervals` draws.

    Parameters
    ----------
    curve : Roc
    far_G : (G,) float
        FARs at which TAR is measured, each at the largest threshold whose FAR does not exceed it.
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
    """(number, weight of each pair (P,), curve) of each resample that has pairs of both kinds."""
    for r in range(resamples):
        weight_P = _draw(np.random.default_rng((seed, r)), curve.issame_P, identity_P2)
        weighted = curves.reweighted(curve, weight_P)
        if weighted.true_accepts_C[-1] and weighted.false_accepts_C[-1]:
            yield r, weight_P, weighted


def _draw(rng: np.random.Generator, issame_P: np.ndarray, identity_P2: Optional[np.ndarray]) -> np.ndarray:
    """(P,) float64: weight of each pair in a resample."""
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
