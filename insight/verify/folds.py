"""K-fold verification accuracy by InsightFace's protocol (verification.py, deepinsight/insightface@4bc81321)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import InsightError

THRESHOLDS = np.arange(0, 4, 0.01)  # of the squared L2 distance between unit vectors, which is at most 4


class FoldAccuracy(NamedTuple):
    """Accuracy over the folds."""

    accuracy: float  # mean over folds
    std: float  # population standard deviation over folds
    per_fold: np.ndarray  # (K,)
    thresholds: np.ndarray  # (K,) squared L2, the best on each fold's training part


def normalise(embeddings: np.ndarray) -> np.ndarray:
    """Rows to unit length; a zero row stays zero."""
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.where(norms > 0, norms, 1.0)


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
    correct_PT = (distance_P[:, None] < THRESHOLDS[None, :]) == issame_P[:, None]
    parts = fold_slices(len(issame_P), folds)
    per_fold, chosen = [], []
    total_T = correct_PT.sum(axis=0)
    for part in parts:
        hits_T = correct_PT[part].sum(axis=0)
        train_T = total_T - hits_T if folds > 1 else total_T
        best = int(np.argmax(train_T))  # the first, where several tie
        per_fold.append(hits_T[best] / (part.stop - part.start))
        chosen.append(THRESHOLDS[best])
    per_fold = np.array(per_fold)
    return FoldAccuracy(float(per_fold.mean()), float(per_fold.std()), per_fold, np.array(chosen))
