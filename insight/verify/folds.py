"""K-fold verification accuracy by InsightFace's protocol (verification.py, deepinsight/insightface@4bc81321)."""

from __future__ import annotations

from typing import NamedTuple, Optional

import numpy as np

from ..errors import InsightError

THRESHOLDS = np.arange(0, 4, 0.01)  # of the squared L2 distance between unit vectors, which is at most 4


class FoldAccuracy(NamedTuple):
    """K-fold accuracy. Folds without weight are left out of all fields."""

    accuracy: float  # mean over folds
    std: float  # population standard deviation over folds
    per_fold: np.ndarray  # (K,)
    thresholds: np.ndarray  # (K,) squared L2; the best on the training part of each fold


def fold_slices(count: int, folds: int) -> list:
    """Slices of contiguous folds, without shuffling; the first ``count % folds`` have one pair more."""
    sizes = np.full(folds, count // folds)
    sizes[: count % folds] += 1
    ends = np.cumsum(sizes)
    return [slice(end - size, end) for size, end in zip(sizes, ends)]


def kfold_accuracy(distance_P: np.ndarray, issame_P: np.ndarray, folds: int = 10) -> FoldAccuracy:
    """Accuracy of ``distance < threshold``; the threshold of each fold is chosen on the other folds.

    Parameters
    ----------
    distance_P : (P,) float
        Squared L2 distances of the pairs.
    issame_P : (P,) bool
        Whether the images of a pair show one person.
    folds : int
        K. With 1, the threshold is chosen on the test part itself.

    Raises
    ------
    InsightError
        There are fewer pairs than folds.
    """
    if len(issame_P) < folds:
        raise InsightError(f"{len(issame_P)} pairs are too few for {folds} folds; use --nfolds {max(1, len(issame_P))}")
    return accuracy_of_cells(cells(distance_P, folds), issame_P, folds)


def cells(distance_P: np.ndarray, folds: int) -> np.ndarray:
    """(P,) int64: the fold of each pair and the position of its distance among the thresholds, in one number."""
    fold_P = np.repeat(np.arange(folds), [part.stop - part.start for part in fold_slices(len(distance_P), folds)])
    # side="right" because the comparison is strict: a threshold equal to the distance does not accept the pair.
    return fold_P * (len(THRESHOLDS) + 1) + np.searchsorted(THRESHOLDS, distance_P, side="right")


def accuracy_of_cells(
    cell_P: np.ndarray, issame_P: np.ndarray, folds: int, weight_P: Optional[np.ndarray] = None
) -> FoldAccuracy:
    """Compute :func:`kfold_accuracy` from the result of :func:`cells`, with optional weights (P,) of the pairs.

    A fold whose pairs have no weight is skipped.
    """
    shape = (folds, len(THRESHOLDS) + 1)

    def count(chosen_P: np.ndarray) -> np.ndarray:
        weights = None if weight_P is None else weight_P[chosen_P]
        return np.bincount(cell_P[chosen_P], weights, shape[0] * shape[1]).reshape(shape)

    same_KT, different_KT = count(issame_P), count(~issame_P)
    size_K = same_KT.sum(axis=1) + different_KT.sum(axis=1)
    # Correct decisions: same pairs that are accepted, and different pairs that are rejected.
    hits_KT = same_KT.cumsum(axis=1) + different_KT.sum(axis=1, keepdims=True) - different_KT.cumsum(axis=1)
    hits_KT = hits_KT[:, : len(THRESHOLDS)]
    train_KT = hits_KT.sum(axis=0) - hits_KT if folds > 1 else hits_KT
    best_K = train_KT.argmax(axis=1)  # the lowest of equally good thresholds
    filled_K = size_K > 0
    per_fold = hits_KT[np.arange(folds), best_K][filled_K] / size_K[filled_K]
    return FoldAccuracy(float(per_fold.mean()), float(per_fold.std()), per_fold, THRESHOLDS[best_K[filled_K]])
