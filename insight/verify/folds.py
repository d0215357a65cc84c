"""K-fold verification accuracy by InsightFace's protocol (verification.py, deepinsight/insightface@4bc81321)."""

from __future__ import annotations

from typing import NamedTuple, Optional

import numpy as np

from ..errors import InsightError

THRESHOLDS = np.arange(0, 4, 0.01)  # of the squared L2 distance between unit vectors, which is at most 4


class FoldAccuracy(NamedTuple):
    """Accuracy over the folds."""

    accuracy: float  # mean over folds
    std: float  # population standard deviation over folds
    per_fold: np.ndarray  # (K,)
    thresholds: np.ndarray  # (K,) squared L2, the best on each fold's training part


def fold_slices(count: int, folds: int) -> list:
    """Contiguous folds without shuffling; the first ``count % folds`` hold one pair more."""
    sizes = np.full(folds, count // folds)
    sizes[: count % folds] += 1
    ends = np.cumsum(sizes)
    return [slice(end - size, end) for size, end in zip(sizes, ends)]


def kfold_accuracy(distance_P: np.ndarray, issame_P: np.ndarray, folds: int = 10) -> FoldAccuracy:
    """Accuracy of ``distance < threshold``, the threshold chosen on the other folds.

    Parameters
    ----------
    distance_P : (P,) float
        Squared L2 distances of the pairs.
    issame_P : (P,) bool
    folds : int
        K; with 1, training and test part are the same.

    Raises
    ------
    InsightError
        Fewer pairs than folds.
    """
    if len(issame_P) < folds:
        raise InsightError(f"{len(issame_P)} pairs are too few for {folds} folds; use --nfolds {max(1, len(issame_P))}")
    return accuracy_of_cells(cells(distance_P, folds), issame_P, folds)


def cells(distance_P: np.ndarray, folds: int) -> np.ndarray:
    """(P,) int64: each pair's fold and its place on the grid of thresholds, as one number."""
    fold_P = np.repeat(np.arange(folds), [part.stop - part.start for part in fold_slices(len(distance_P), folds)])
    # Thresholds up to the distance, itself included, do not accept a pair: the comparison is strict.
    return fold_P * (len(THRESHOLDS) + 1) + np.searchsorted(THRESHOLDS, distance_P, side="right")


def accuracy_of_cells(
    cell_P: np.ndarray, issame_P: np.ndarray, folds: int, weight_P: Optional[np.ndarray] = None
) -> FoldAccuracy:
    """As :func:`kfold_accuracy`, from :func:`cells`; each pair counts ``weight_P`` times (P,), or once.

    A fold without weight is left out.
    """
    shape = (folds, len(THRESHOLDS) + 1)

    def count(chosen_P: np.ndarray) -> np.ndarray:
        weights = None if weight_P is None else weight_P[chosen_P]
        return np.bincount(cell_P[chosen_P], weights, shape[0] * shape[1]).reshape(shape)

    same_KT, different_KT = count(issame_P), count(~issame_P)
    size_K = same_KT.sum(axis=1) + different_KT.sum(axis=1)
    # Right at a threshold: same pairs that it accepts, and different pairs that it does not.
    hits_KT = same_KT.cumsum(axis=1) + different_KT.sum(axis=1, keepdims=True) - different_KT.cumsum(axis=1)
    hits_KT = hits_KT[:, : len(THRESHOLDS)]
    train_KT = hits_KT.sum(axis=0) - hits_KT if folds > 1 else hits_KT
    best_K = train_KT.argmax(axis=1)  # the first, where several tie
    held = size_K > 0
    per_fold = hits_KT[np.arange(folds), best_K][held] / size_K[held]
    return FoldAccuracy(float(per_fold.mean()), float(per_fold.std()), per_fold, THRESHOLDS[best_K[held]])
