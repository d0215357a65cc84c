"""Intervals against explicit resampling, and against the binomial deviation."""

import numpy as np
import pytest
from test_roc import by_counting

from insight.verify.bootstrap import intervals, tar_band
from insight.verify.roc import roc_curve


def made(count, seed=0):
    draw = np.random.default_rng(seed)
    issame = draw.random(count) < 0.5
    return draw.normal(np.where(issame, 1.0, 1.5), 0.4).clip(0, 4), issame


def test_intervals_depend_on_the_seed_only():
    first, again, other = (intervals(*made(60), 5, fars=[0.1], resamples=20, seed=s) for s in (3, 3, 4))
    assert first == again
    assert first.auc != other.auc
    assert first.over == "pairs"


def test_identities_are_drawn_with_all_their_pairs():
    """People drawn m and n times: their same pairs count m times, their different ones m n times."""
    people = 7
    identity = np.array([(a, b) for a in range(people) for b in range(a, people)])
    issame = identity[:, 0] == identity[:, 1]
    distance = np.random.default_rng(1).normal(np.where(issame, 1.0, 1.5), 0.4).clip(0, 4)
    areas = []
    for r in range(30):
        drawn = np.random.default_rng((9, r)).integers(0, people, people).tolist()
        rows = []
        for d, s, (a, b) in zip(distance.tolist(), issame.tolist(), identity.tolist()):
            times = drawn.count(a) if s else drawn.count(a) * drawn.count(b)
            rows += [(d, s)] * times
        areas.append(by_counting(*zip(*rows))[1])
    found = intervals(distance, issame, 3, identity, resamples=30, seed=9)
    assert found.over == "identities"
    assert found.auc == pytest.approx(np.quantile(areas, [0.025, 0.975]).tolist(), abs=1e-12)


def test_width_is_the_binomial_one():
    """TAR 0.8 of 400 pairs, with a threshold that the resamples cannot move."""
    distance = np.concatenate([np.full(320, 0.5), np.full(80, 2.5), np.linspace(1.9, 2.1, 400)])
    tar = intervals(distance, np.arange(800) < 400, 10, fars=[0.1], resamples=400).tar[0.1]
    deviation = np.sqrt(0.8 * 0.2 / 400)
    assert tar.low == pytest.approx(0.8 - 1.96 * deviation, abs=0.007)
    assert tar.high == pytest.approx(0.8 + 1.96 * deviation, abs=0.007)


def test_accuracy_and_eer_of_a_separable_set_are_certain():
    distance = np.tile([0.5, 1.5], 40)
    found = intervals(distance, np.arange(80) % 2 == 0, 10, resamples=20)
    assert (found.accuracy, found.eer, found.auc) == ((1, 1), (0, 0), (1, 1))


def test_without_a_resample_of_both_kinds_there_is_no_interval():
    """One person has the only same pair, and two others the only different one: one resample never draws all three."""
    found = intervals(np.array([0.5, 1.5]), np.array([True, False]), 1, np.array([[0, 0], [1, 2]]), resamples=1, seed=0)
    drawn = np.random.default_rng((0, 0)).integers(0, 3, 3)
    assert len(set(drawn.tolist())) < 3
    assert found.auc is None and found.accuracy is None


@pytest.mark.parametrize("people", [0, 9])
def test_the_band_is_the_interval_at_each_far(people):
    distance, issame = made(80)
    identity = None
    if people:
        first = np.arange(80) % people
        identity = np.stack([first, np.where(issame, first, (first + 1 + np.arange(80) % (people - 1)) % people)], 1)
    fars = [1 / 40, 0.1, 0.33, 1.0]
    band = tar_band(roc_curve(distance, issame), np.array(fars), identity, 30, seed=4)
    for at, far in enumerate(fars):
        assert (band.low_G[at], band.high_G[at]) == intervals(distance, issame, 5, identity, fars, 30, 4).tar[far]
    assert band.low_G[0] < band.high_G[0]


def test_without_a_resample_of_both_kinds_the_band_is_nan():
    curve = roc_curve(np.array([0.5, 1.5]), np.array([True, False]))
    band = tar_band(curve, np.array([0.5, 1.0]), np.array([[0, 0], [1, 2]]), resamples=1, seed=0)
    assert np.isnan(band.low_G).all() and np.isnan(band.high_G).all()
