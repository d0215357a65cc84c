"""Rates and thresholds against counting pair by pair."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insight.verify import roc


def rates(accepted, issame):
    """(FAR, TAR) by counting."""
    false = sum(1 for a, s in zip(accepted, issame) if a and not s)
    true = sum(1 for a, s in zip(accepted, issame) if a and s)
    return false / (len(issame) - sum(issame)), true / sum(issame)


def candidates(distance):
    """A threshold below all distances, one between each two distinct ones, and one above all."""
    levels = sorted(set(distance))
    return [levels[0] - 1, *((a + b) / 2 for a, b in zip(levels, levels[1:])), levels[-1] + 1]


def by_counting(distance, issame):
    """[(FAR, TAR, accuracy)] at all candidates, and the area, in O(N^2)."""
    found = []
    for threshold in candidates(distance):
        accepted = [d < threshold for d in distance]
        found.append((*rates(accepted, issame), sum(a == s for a, s in zip(accepted, issame))))
    same = [d for d, s in zip(distance, issame) if s]
    different = [d for d, s in zip(distance, issame) if not s]
    area = sum((a < b) + 0.5 * (a == b) for a in same for b in different) / len(same) / len(different)
    return found, area


@st.composite
def scored_pairs(draw):
    """Distances with many ties, without ties, or with tiny differences; pairs of both kinds."""
    count = draw(st.integers(2, 60))
    values = draw(
        st.sampled_from([st.integers(0, 12).map(lambda i: i / 3), st.integers(0, 400).map(lambda i: 1 + i * 1e-8)])
    )
    distance = draw(st.lists(values, min_size=count, max_size=count))
    issame = draw(st.lists(st.booleans(), min_size=count, max_size=count).filter(lambda s: 0 < sum(s) < len(s)))
    return np.array(distance), np.array(issame)


@settings(max_examples=150, deadline=None)
@given(scored_pairs())
def test_against_counting(pairs):
    distance, issame = pairs
    curve = roc.roc_curve(distance, issame)
    counted, area = by_counting(distance.tolist(), issame.tolist())
    assert list(zip(curve.far_C, curve.tar_C)) == [c[:2] for c in counted]
    assert roc.auc(curve) == pytest.approx(area, abs=1e-12)
    assert (np.diff(curve.far_C) >= 0).all() and (np.diff(curve.tar_C) >= 0).all()
    gaps = [abs(far - (1 - tar)) for far, tar, _ in counted]
    far, tar, _ = counted[gaps.index(min(gaps))]
    assert roc.equal_error_rate(curve) == pytest.approx((far + 1 - tar) / 2, abs=1e-12)
    best = roc.operating_point(curve, roc.cut_at_best_accuracy(curve))
    assert best.accuracy == max(c[2] for c in counted) / len(issame)
    for wanted in (0.5, *roc.FARS):
        point = roc.operating_point(curve, roc.cut_at_far(curve, wanted))
        assert (point.far, point.tar) == max(c[:2] for c in counted if c[0] <= wanted)


@settings(max_examples=150, deadline=None)
@given(scored_pairs())
def test_each_threshold_gives_its_own_rates(pairs):
    """Strict or not, as squared L2 or as cosine; also with float32 distances if the gap allows it."""
    distance, issame = pairs
    curve = roc.roc_curve(distance, issame)
    cosine = 1 - distance / 2
    for cut in range(len(curve.low_C)):
        point = roc.operating_point(curve, cut)
        for accepted in (
            distance < point.squared_l2,
            distance <= point.squared_l2,
            cosine > point.cosine,
            cosine >= point.cosine,
        ):
            assert rates(accepted.tolist(), issame.tolist()) == (point.far, point.tar)
            assert np.mean(accepted == issame) == pytest.approx(point.accuracy, abs=1e-12)
            assert (accepted & ~issame).sum() == point.false_accepts


def test_by_hand():
    """Same at 0.2, 0.4, 1.2, 1.2; different at 0.4, 1.0, 1.6, 2.0."""
    distance = np.array([0.2, 0.4, 1.2, 1.2, 0.4, 1.0, 1.6, 2.0])
    issame = np.array([True] * 4 + [False] * 4)
    curve = roc.roc_curve(distance, issame)
    assert curve.far_C.tolist() == [0, 0, 0.25, 0.5, 0.5, 0.75, 1]
    assert curve.tar_C.tolist() == [0, 0.25, 0.5, 0.5, 1, 1, 1]
    assert roc.auc(curve) == 11.5 / 16
    point = roc.operating_point(curve, roc.cut_at_far(curve, 0.5))
    assert point == (1.4, 0.3, 0.5, 1.0, 0.75, 2)  # the largest TAR that FAR 0.5 allows
    assert roc.operating_point(curve, roc.cut_at_far(curve, 0.49)).squared_l2 == 0.7
    assert roc.equal_error_rate(curve) == 0.5  # FAR 0.5, FRR 0.5
    assert roc.operating_point(curve, roc.cut_at_eer(curve)).squared_l2 == 1.1
    assert roc.operating_point(curve, roc.cut_at_best_accuracy(curve)).squared_l2 == 1.4


def test_float_noise_is_a_tie():
    """A different pair that is nearer than a same one by a trillionth counts as equal."""
    curve = roc.roc_curve(np.array([1.0, 1.0 - 1e-12, 2.0]), np.array([True, False, False]))
    assert curve.far_C.tolist() == [0, 0.5, 1]
    assert roc.auc(curve) == 0.75


def test_a_threshold_is_clear_of_a_chain_of_ties():
    """Twenty distances less than 1e-9 from their neighbours are one, and the threshold is beyond the last."""
    distance = np.concatenate([1 + 0.9e-9 * np.arange(20), [1 + 20e-9]])
    curve = roc.roc_curve(distance, np.arange(21) < 20)
    assert len(curve.low_C) == 3
    point = roc.operating_point(curve, 1)
    assert distance[19] < point.squared_l2 < distance[20]


def test_a_different_pair_at_distance_zero_is_rejected_by_a_threshold_below_it():
    curve = roc.roc_curve(np.array([0.0, 0.0]), np.array([True, False]))
    point = roc.operating_point(curve, roc.cut_at_far(curve, 0.1))
    assert (point.squared_l2, point.cosine, point.far, point.tar) == (-0.01, 1.005, 0, 0)


@pytest.mark.parametrize("far", roc.FARS)
def test_measurable_rates(far):
    needed = round(1 / far)
    assert roc.measurable(needed, far)
    assert not roc.measurable(needed - 1, far)


def test_false_accepts_are_the_whole_share():
    """FAR times pairs is truncated to whole pairs in exact arithmetic: 0.1 x 30 is 3, not 2.9999."""
    for different in range(1, 200):
        distance = np.arange(different + 1) / 100
        curve = roc.roc_curve(distance, np.arange(different + 1) == different)
        for far, parts in ((0.1, 10), (0.01, 100)):
            assert curve.false_accepts_C[roc.cut_at_far(curve, far)] == different // parts
    curve = roc.roc_curve(np.arange(101) / 100, np.arange(101) == 100)
    assert curve.false_accepts_C[roc.cut_at_far(curve, 0.29)] == 29  # the product in floats is 28.999999999999996
