"""What a training has changed: the figures of two models on the same pairs, and the intervals of their differences.

Both models are evaluated on each resample of the bootstrap (:mod:`.bootstrap`), and the interval is that of the
difference (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 8). A resample that is hard for one
model is mostly hard for the other, so the difference is known better than the intervals of the two models suggest.
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
    """A figure of both models, and the difference."""

    figure: str  # ACCURACY, EER, AUC
    far: Optional[float]  # of a TAR, whose ``figure`` is "TAR"; None for the others
    before: float
    after: float
    interval: Optional[Interval]  # of ``after - before``; None without resamples of both kinds of pairs

    @property
    def difference(self) -> float:
        """``after - before``."""
        return self.after - self.before

    @property
    def certain(self) -> bool:
        """Whether the interval excludes 0, on the side of the difference: with few people it may be far from it."""
        if self.interval is None:
            return False
        return min(self.interval.low, self.difference) > 0 or max(self.interval.high, self.difference) < 0

    @property
    def improved(self) -> bool:
        """Whether the later value is the better one."""
        return self.difference < 0 if self.figure == EER else self.difference > 0


def changes(
    before: Verification,
    after: Verification,
    before_figures: Figures,
    after_figures: Figures,
    resamples: int = 1000,
    seed: int = 0,
) -> List[FigureChange]:
    """Compare two models on one set.

    Parameters
    ----------
    before, after : Verification
        Of the same pairs, in the same folds.
    before_figures, after_figures : Figures
    resamples, seed : int
        As in :func:`insight.verify.bootstrap.intervals`; no intervals with 0 resamples.

    Returns
    -------
    list of FigureChange
        Accuracy over folds, AUC, EER, and TAR at each FAR that the set can measure, each model at its own threshold.

    Raises
    ------
    InsightError
        The pairs are not the same.
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
