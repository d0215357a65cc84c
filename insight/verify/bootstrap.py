"""How far the figures of a verification can be trusted: percentile bootstrap.

Where the identities are known, they are drawn with replacement: a person drawn m times counts m times in the same
pairs, and two persons drawn m and n times count m n times in their different pairs (the vertex bootstrap of Snijders
and Borgatti, "Non-parametric standard errors and tests for network statistics", 1999). Pairs that share a person are
not independent, so this is wider, and more honest, than drawing pairs. Where identities are unknown, as in a .bin,
pairs are drawn, same and different ones apart.
"""

from __future__ import annotations

from typing import Dict, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from . import roc as curves
from .folds import accuracy_of_cells, cells

LEVEL = 0.95


class Interval(NamedTuple):
    """Ends of a 95 % interval."""

    low: float
    high: float


class Intervals(NamedTuple):
    """An interval for each figure; ``None`` where no resample had pairs of both kinds."""

    over: str  # what was drawn: identities or pairs
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
        Holds both values.
    folds : int
        Of the accuracy; its threshold is chosen anew in every resample.
    identity_P2 : (P, 2) int, optional
        Who is in the pairs, 0 and up.
    fars : sequence of float
        Where to take TAR.
    resamples, seed : int
        Resample r draws from (seed, r).
    """
    cell_P = cells(distance_P, folds)
    curve = curves.roc_curve(distance_P, issame_P)
    drawn = np.full((resamples, 3 + len(fars)), np.nan)
    for r in range(resamples):
        weight_P = _draw(np.random.default_rng((seed, r)), issame_P, identity_P2)
        weighted = curves.reweighted(curve, weight_P)
        if weighted.true_accepts_C[-1] and weighted.false_accepts_C[-1]:
            tar_C = weighted.tar_C
            drawn[r] = [
                accuracy_of_cells(cell_P, issame_P, folds, weight_P).accuracy,
                curves.equal_error_rate(weighted),
                curves.auc(weighted),
                *(tar_C[curves.cut_at_far(weighted, far)] for far in fars),
            ]
    found = [_interval(column) for column in drawn.T]
    over = "pairs" if identity_P2 is None else "identities"
    return Intervals(over, resamples, seed, found[0], found[1], found[2], dict(zip(fars, found[3:])))


def _draw(rng: np.random.Generator, issame_P: np.ndarray, identity_P2: Optional[np.ndarray]) -> np.ndarray:
    """(P,) float64: how often each pair counts in a resample."""
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
