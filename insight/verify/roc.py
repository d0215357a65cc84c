"""Rates of a verification set as functions of the threshold: FAR, TAR, EER, AUC.

A pair is accepted if its squared L2 distance is strictly below the threshold. A threshold always lies between two
distances that occur, never on one, and is rounded only as far as it keeps a margin to both. So it gives the same rates
whether it is compared with ``<`` or ``<=``, as squared L2 or as cosine (d2 = 2 - 2 cos), and when it is copied from
printed output. Distances that differ by less than 1e-9 count as equal: float32 embeddings do not distinguish them.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Optional

import numpy as np

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
TIE = 1e-9  # squared L2 distances that differ by no more are equal
_DECIMALS = 4  # minimum number of decimals of a threshold
_BEYOND = 0.02  # a threshold that accepts nothing, or everything, lies half of this outside all distances
_ROUNDING = 1e-9  # tolerance for FAR times pairs, which should be a whole number


class Roc(NamedTuple):
    """Pairs accepted at each of C cuts; cut 0 accepts none, cut C - 1 all.

    Counts are numbers of pairs, or sums of their weights.
    """

    level_P: np.ndarray  # (P,) rank of a pair's distance among the distinct distances; cut c accepts levels < c
    issame_P: np.ndarray  # (P,) bool
    low_C: np.ndarray  # (C,) the largest squared L2 distance that a cut accepts
    high_C: np.ndarray  # (C,) the smallest that it rejects
    true_accepts_C: np.ndarray  # (C,) accepted same pairs
    false_accepts_C: np.ndarray  # (C,) accepted different pairs

    @property
    def far_C(self) -> np.ndarray:
        """(C,) share of the different pairs that is accepted, ascending."""
        return self.false_accepts_C / self.false_accepts_C[-1]

    @property
    def tar_C(self) -> np.ndarray:
        """(C,) share of the same pairs that is accepted, ascending."""
        return self.true_accepts_C / self.true_accepts_C[-1]


class OperatingPoint(NamedTuple):
    """A threshold and its rates."""

    squared_l2: float  # accept below
    cosine: float  # accept above; equivalent
    far: float
    tar: float
    accuracy: float  # over all pairs, no folds
    false_accepts: int


def roc_curve(distance_P: np.ndarray, issame_P: np.ndarray) -> Roc:
    """Rates at all thresholds that give distinct sets of accepted pairs.

    Parameters
    ----------
    distance_P : (P,) float
        Squared L2 distances between unit embeddings.
    issame_P : (P,) bool
        Must contain both values.
    """
    order = np.argsort(distance_P, kind="stable")
    ascending = distance_P[order]
    begins = np.concatenate([[True], np.diff(ascending) > TIE])
    level_P = np.empty(len(order), np.int64)
    level_P[order] = np.cumsum(begins) - 1
    starts = np.flatnonzero(begins)
    low_C = np.concatenate([[ascending[0] - _BEYOND], ascending[starts[1:] - 1], ascending[-1:]])
    high_C = np.concatenate([ascending[starts], [ascending[-1] + _BEYOND]])
    return Roc(level_P, issame_P, low_C, high_C, *_accepted(level_P, issame_P, len(starts)))


def reweighted(roc: Roc, weight_P: np.ndarray) -> Roc:
    """The same cuts with each pair counted ``weight_P`` times (P,)."""
    accepted = _accepted(roc.level_P, roc.issame_P, len(roc.low_C) - 1, weight_P)
    return roc._replace(true_accepts_C=accepted[0], false_accepts_C=accepted[1])


def _accepted(level_P, issame_P, levels: int, weight_P: Optional[np.ndarray] = None) -> list:
    counts = []
    for chosen_P in (issame_P, ~issame_P):
        weights = None if weight_P is None else weight_P[chosen_P]
        counts.append(np.concatenate([[0], np.bincount(level_P[chosen_P], weights, levels).cumsum()]))
    return counts


def auc(roc: Roc) -> float:
    """Area under the ROC: probability that a same pair is nearer than a different one; ties count half."""
    nearer = (roc.true_accepts_C[1:] + roc.true_accepts_C[:-1]) / 2
    return float((nearer * np.diff(roc.false_accepts_C)).sum() / (roc.true_accepts_C[-1] * roc.false_accepts_C[-1]))


def measurable(different: int, far: float) -> bool:
    """Whether a FAR is measurable with that many different pairs: one false accept must not exceed it."""
    return different * far >= 1 - _ROUNDING


def cut_at_far(roc: Roc, far: float) -> int:
    """The last cut whose FAR does not exceed ``far``; there is no interpolation."""
    allowed = far * roc.false_accepts_C[-1] + _ROUNDING
    return int(np.searchsorted(roc.false_accepts_C, allowed, side="right")) - 1


def tar_at(roc: Roc, far_G: np.ndarray) -> np.ndarray:
    """(G,) TAR at the last cut whose FAR does not exceed each of ``far_G`` (G,)."""
    allowed_G = far_G * roc.false_accepts_C[-1] + _ROUNDING
    return roc.tar_C[np.searchsorted(roc.false_accepts_C, allowed_G, side="right") - 1]


def cut_at_eer(roc: Roc) -> int:
    """The first cut at which FAR and FRR = 1 - TAR differ least."""
    return int(np.abs(roc.far_C - (1 - roc.tar_C)).argmin())


def equal_error_rate(roc: Roc) -> float:
    """Mean of FAR and FRR at the cut where they differ least."""
    cut = cut_at_eer(roc)
    return float((roc.far_C[cut] + 1 - roc.tar_C[cut]) / 2)


def cut_at_best_accuracy(roc: Roc) -> int:
    """The first cut with the most correct decisions."""
    return int((roc.true_accepts_C - roc.false_accepts_C).argmax())


def operating_point(roc: Roc, cut: int) -> OperatingPoint:
    """A threshold for a cut, with its rates."""
    low, high = float(roc.low_C[cut]), float(roc.high_C[cut])
    true, false = roc.true_accepts_C[cut], roc.false_accepts_C[cut]
    right = true + roc.false_accepts_C[-1] - false
    return OperatingPoint(
        _decimal_between(low, high),
        _decimal_between(1 - high / 2, 1 - low / 2),
        float(roc.far_C[cut]),
        float(roc.tar_C[cut]),
        float(right / (roc.true_accepts_C[-1] + roc.false_accepts_C[-1])),
        int(false),
    )


def _decimal_between(low: float, high: float) -> float:
    """The middle, rounded to the fewest digits that keep a quarter of the gap free on either side."""
    digits = max(_DECIMALS, math.ceil(-math.log10((high - low) / 2)))
    return round((low + high) / 2, digits)
