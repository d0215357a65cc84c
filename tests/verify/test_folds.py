"""The fold protocol against a literal, slow transcription of its description."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insight.errors import InsightError
from insight.verify.folds import accuracy_of_cells, cells, fold_slices, kfold_accuracy


def accuracy_by_loops(distance, issame, folds):
    """Thresholds 0, 0.01, … 3.99 with `<`; contiguous folds; the first best threshold of the other folds."""
    pairs = list(range(len(issame)))
    chunks, start = [], 0
    for k in range(folds):
        size = len(pairs) // folds + (1 if k < len(pairs) % folds else 0)
        chunks.append(pairs[start : start + size])
        start += size
    scores = []
    for test in chunks:
        training = [p for p in pairs if p not in test] if folds > 1 else pairs
        best, best_right = None, -1
        for i in range(400):
            threshold = np.arange(0, 4, 0.01)[i]
            right = sum((distance[p] < threshold) == issame[p] for p in training)
            if right > best_right:
                best, best_right = threshold, right
        scores.append(sum((distance[p] < best) == issame[p] for p in test) / len(test))
    return float(np.mean(scores)), float(np.std(scores))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(11, 47), st.integers(1, 10))
def test_against_loops(seed, count, folds):
    draw = np.random.default_rng(seed)
    issame = draw.random(count) < 0.5
    distance = np.where(issame, draw.normal(1.0, 0.4, count), draw.normal(1.6, 0.4, count)).clip(0, 4)
    got = kfold_accuracy(distance, issame, folds)
    assert (got.accuracy, got.std) == pytest.approx(accuracy_by_loops(distance, issame, folds), abs=1e-12)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_a_weight_is_a_number_of_copies(seed, folds):
    """Each pair repeated where it stands; folds of equal weight, so that their ends do not move."""
    draw = np.random.default_rng(seed)
    weight = np.tile(draw.permutation([0, 1, 2, 3, 1]), folds)
    issame = draw.random(5 * folds) < 0.5
    distance = draw.uniform(0, 4, 5 * folds)
    copies = accuracy_by_loops(distance.repeat(weight), issame.repeat(weight), folds)
    got = accuracy_of_cells(cells(distance, folds), issame, folds, weight.astype(float))
    assert (got.accuracy, got.std) == pytest.approx(copies, abs=1e-12)


def test_a_fold_without_weight_is_left_out():
    distance, issame = np.array([0.5, 1.5, 0.5, 1.5]), np.array([True, False, False, True])
    got = accuracy_of_cells(cells(distance, 2), issame, 2, np.array([1.0, 1.0, 0.0, 0.0]))
    assert len(got.per_fold) == 1


def test_threshold_is_strict_and_the_first_of_a_tie():
    got = kfold_accuracy(np.array([0.5, 1.0, 0.5, 1.0]), np.array([True, False, True, False]), 2)
    assert got.thresholds.tolist() == [0.51, 0.51]  # 0.50 is not below 0.50
    assert got.accuracy == 1.0


def test_folds_are_contiguous_and_the_first_are_longer():
    assert [(s.start, s.stop) for s in fold_slices(11, 3)] == [(0, 4), (4, 8), (8, 11)]


def test_too_few_pairs():
    with pytest.raises(InsightError, match="3 pairs are too few for 10 folds; use --nfolds 3"):
        kfold_accuracy(np.zeros(3), np.array([True, False, True]), 10)
