"""Metrics of one model on one verification set."""

from __future__ import annotations

from typing import Dict, NamedTuple, Optional

from . import bootstrap, roc
from .roc import OperatingPoint
from .verification import Verification


class Figures(NamedTuple):
    """Metrics computed from the distances of all pairs, in addition to the accuracy over folds."""

    same: int  # number of same pairs
    different: int  # number of different (impostor) pairs
    auc: float
    eer: float
    at_eer: OperatingPoint
    at_best_accuracy: OperatingPoint
    at_far: Dict[float, Optional[OperatingPoint]]  # None if there are fewer than 1 / FAR impostor pairs
    intervals: Optional[bootstrap.Intervals]


def figures(result: Verification, resamples: int = 1000, seed: int = 0) -> Figures:
    """Compute rates, thresholds and, if ``resamples`` is above 0, bootstrap intervals."""
    same = int(result.issame.sum())
    different = result.pairs - same
    curve = roc.roc_curve(result.distances, result.issame)
    fars = [far for far in roc.FARS if roc.measurable(different, far)]
    points = {far: roc.operating_point(curve, roc.cut_at_far(curve, far)) for far in fars}
    intervals = None
    if resamples:
        folds = len(result.folds.per_fold)
        intervals = bootstrap.intervals(
            result.distances, result.issame, folds, result.identities, fars, resamples, seed
        )
    return Figures(
        same,
        different,
        roc.auc(curve),
        roc.equal_error_rate(curve),
        roc.operating_point(curve, roc.cut_at_eer(curve)),
        roc.operating_point(curve, roc.cut_at_best_accuracy(curve)),
        {far: points.get(far) for far in roc.FARS},
        intervals,
    )
