"""Rates of a verification set as functions of the threshold: FAR, TAR, EER, AUC.

A pair is accepted if its squared L2 distance is strictly below the threshold. A threshold always lies between two
neighbouring distances of the set, never on one, and its rounding keeps it away from both. It therefore gives the same
rates with ``<`` and ``<=``, as squared L2 and as cosine (d2 = 2 - 2 cos), and when it is copied from printed output.
Neighbouring distances that differ by at most 1e-9 count as equal, because float32 embeddings do not distinguish them.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Optional

import numpy as np

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
TIE = 1e-9  # neighbouring squared L2 distances that differ by at most this are equal
_DECIMALS = 4  # minimum number of decimals of a threshold
_BEYOND = 0.02  # thresholds that accept no pair, or all pairs, lie half of this outside the range of the distances
_ROUNDING = 1e-9  # tolerance for FAR times pairs, which should be a whole number


class Roc(NamedTuple):
    """Numbers of accepted pairs, or sums of their weights, at C cuts: cut 0 accepts no pair, cut C - 1 accepts all."""

    level_P: np.ndarray  # (P,) rank of a pair's distance among the distinct distances; cut c accepts levels < c
    issame_P: np.ndarray  # (P,) bool
    low_C: np.ndarray  # (C,) the largest squared L2 distance that is accepted
    high_C: np.ndarray  # (C,) the smallest squared L2 distance that is rejected
    true_accepts_C: np.ndarray  # (C,) accepted same pairs
    false_accepts_C: np.ndarray  # (C,) accepted different pairs

    @property
    def far_C(self) -> np.ndarray:
        """(C,) fraction of the different pairs that are accepted, ascending."""
        return self.false_accepts_C / self.false_accepts_C[-1]

    @property
    def tar_C(self) -> np.ndarray:
        """(C,) fraction of the same pairs that are accepted, ascending."""
        return self.true_accepts_C / self.true_accepts_C[-1]


class OperatingPoint(NamedTuple):
    """A threshold and its rates."""

    squared_l2: float  # distances below it are accepted
    cosine: float  # the same threshold: cosines above it are accepted
    far: float
    tar: float
    accuracy: float  # over all pairs, without folds
    false_accepts: int


def roc_curve(distance_P: np.ndarray, issame_P: np.ndarray) -> Roc:
    """Compute the ROC at all thresholds that give distinct sets of accepted pairs.

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
    """The ROC at the same cuts, with weights (P,) of the pairs."""
    accepted = _accepted(roc.level_P, roc.issame_P, len(roc.low_C) - 1, weight_P)
    return roc._replace(true_accepts_C=accepted[0], false_accepts_C=accepted[1])


def _accepted(level_P, issame_P, levels: int, weight_P: Optional[np.ndarray] = None) -> list:
    counts = []
    for chosen_P in (issame_P, ~issame_P):
        weights = None if weight_P is None else weight_P[chosen_P]
        counts.append(np.concatenate([[0], np.bincount(level_P[chosen_P], weights, levels).cumsum()]))
    return counts


def auc(roc: Roc) -> float:
    """Area under the ROC: the probability that a same pair is nearer than a different pair; ties count half."""
    nearer = (roc.true_accepts_C[1:] + roc.true_accepts_C[:-1]) / 2
    return float((nearer * np.diff(roc.false_accepts_C)).sum() / (roc.true_accepts_C[-1] * roc.false_accepts_C[-1]))


def measurable(different: int, far: float) -> bool:
    """Whether ``different`` pairs suffice to measure a FAR: the rate of a single false accept must not exceed it."""
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
    """The first cut at which the difference between FAR and FRR = 1 - TAR is smallest."""
    return int(np.abs(roc.far_C - (1 - roc.tar_C)).argmin())


def equal_error_rate(roc: Roc) -> float:
    """Mean of FAR and FRR at the cut of :func:`cut_at_eer`."""
    cut = cut_at_eer(roc)
    return float((roc.far_C[cut] + 1 - roc.tar_C[cut]) / 2)


def cut_at_best_accuracy(roc: Roc) -> int:
    """The first cut with the most correct decisions."""
    return int((roc.true_accepts_C - roc.false_accepts_C).argmax())


def operating_point(roc: Roc, cut: int) -> OperatingPoint:
    """The threshold of a cut, and its rates."""
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
    """The midpoint, rounded to the fewest decimals (at least four) that keep a quarter of the gap on either side."""
    digits = max(_DECIMALS, math.ceil(-math.log10((high - low) / 2)))
    return round((low + high) / 2, digits)
