"""Comparison of two models on the same pairs: their metrics, and confidence intervals of the differences.

Both models are evaluated on each bootstrap resample (:mod:`.bootstrap`), which gives an interval of the difference
(Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 8). A resample that is hard for one model is
mostly hard for the other, so this interval is narrower than the intervals of the two models suggest.
"""

from __future__ import annotations

from typing import List, NamedTuple, Optional

import numpy as np

from ..errors import InsightError
from .bootstrap import Interval, drawn_figures, interval_of_each
from .figures import Figures
from .verification import Verification

ACCURACY, EER, AUC = "accuracy", "EER", "AUC"


class FigureChange(NamedTuple):
    """One metric of both models, and its difference."""

    figure: str  # ACCURACY, EER, AUC or "TAR"
    far: Optional[float]  # the FAR at which a TAR is measured; None for other metrics
    before: float
    after: float
    interval: Optional[Interval]  # of ``after - before``; None if no resample has pairs of both kinds

    @property
    def difference(self) -> float:
        """``after - before``."""
        return self.after - self.before

    @property
    def certain(self) -> bool:
        """Whether difference and interval lie on the same side of 0.

        The difference has to be tested too: with few identities the interval may not contain it.
        """
        if self.interval is None:
            return False
        return min(self.interval.low, self.difference) > 0 or max(self.interval.high, self.difference) < 0

    @property
    def improved(self) -> bool:
        """Whether ``after`` is better than ``before``: lower for EER, higher for all others."""
        return self.difference < 0 if self.figure == EER else self.difference > 0


def changes(
    before: Verification,
    after: Verification,
    before_figures: Figures,
    after_figures: Figures,
    resamples: int = 1000,
    seed: int = 0,
) -> List[FigureChange]:
    """Compare two models on one verification set.

    Parameters
    ----------
    before, after : Verification
        Results on the same pairs, with the same folds.
    before_figures, after_figures : Figures
        Metrics of the two results.
    resamples, seed : int
        As in :func:`insight.verify.bootstrap.intervals`; with 0 resamples there are no intervals.

    Returns
    -------
    list of FigureChange
        Accuracy over folds, EER, AUC, and TAR at each FAR that is measurable on the set. Each model has its own
        thresholds.

    Raises
    ------
    InsightError
        The pairs or the number of folds differ.
    """
    folds = len(after.folds.per_fold)
    if not np.array_equal(before.issame, after.issame) or len(before.folds.per_fold) != folds:
        raise InsightError(f"{after.name}: the models were verified on different pairs; compare them on the same ones")
    fars = [far for far, point in after_figures.at_far.items() if point]

    def values(result: Verification, figures: Figures) -> list:
        return [result.folds.accuracy, figures.eer, figures.auc, *(figures.at_far[far].tar for far in fars)]

    def drawn(result: Verification) -> np.ndarray:
        return drawn_figures(result.distances, result.issame, folds, result.identities, fars, resamples, seed)

    ends = interval_of_each(drawn(after) - drawn(before)) if resamples else [None] * (3 + len(fars))
    names = [(ACCURACY, None), (EER, None), (AUC, None), *(("TAR", far) for far in fars)]
    rows = zip(names, values(before, before_figures), values(after, after_figures), ends)
    return [FigureChange(figure, far, early, late, interval) for (figure, far), early, late, interval in rows]
