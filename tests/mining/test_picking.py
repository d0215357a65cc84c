"""The picker against plain loops: all identities, ties, one identity, nothing to pick."""

import numpy as np
import plain_triplets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insight.mining import picking
from insight.mining.distances import DISTANCES, to_unit

RULES = sorted(picking.CANDIDATES)


def made(draw, labels, spread=0.7, size=8):
    """(N, E) unit vectors around a centre for each label."""
    labels = np.asarray(labels)
    centres = {label: draw.normal(size=size) for label in labels.tolist()}
    rows = np.stack([centres[label] + spread * draw.normal(size=size) for label in labels.tolist()])
    return to_unit(rows)[0], labels


def both(unit, labels, uniforms, alpha=0.3, max_ap=0.0, negatives="semi-hard", distance="euclid"):
    pairs = picking.positive_pairs(labels)
    assert pairs.tolist() == [list(pair) for pair in plain_triplets.pairs_of(labels)]
    blocks = picking.pick(unit, labels, pairs, uniforms, alpha, max_ap, negatives, DISTANCES[distance])
    found = picking.joined(blocks)
    plain = {"euclid": plain_triplets.squared, "angle": plain_triplets.angle}[distance]
    want = plain_triplets.picked(unit, labels, uniforms, alpha, max_ap, negatives, plain)
    return list(zip(*map(np.ndarray.tolist, found))), want


@pytest.mark.parametrize("distance", sorted(DISTANCES))
@pytest.mark.parametrize("negatives", RULES)
@pytest.mark.parametrize("block", [1, 200, 1 << 22])
def test_equals_plain_loops(negatives, distance, block, monkeypatch):
    monkeypatch.setattr(picking, "BLOCK", block)
    draw = np.random.default_rng(3)
    unit, labels = made(draw, draw.permutation(np.r_[np.repeat(np.arange(12), 5), 50, 51, np.repeat(60, 9)]))
    uniforms = draw.random(len(plain_triplets.pairs_of(labels)))
    found, want = both(unit, labels, uniforms, negatives=negatives, distance=distance)
    assert found == want and len(found) > 50
    for anchor, positive, negative in found:
        assert labels[anchor] == labels[positive] != labels[negative] and anchor < positive


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=14),
    seed=st.integers(0, 1 << 30),
    negatives=st.sampled_from(RULES),
    alpha=st.sampled_from([0.0, 0.3, 1.0]),
    max_ap=st.sampled_from([0.0, 0.5]),
    levels=st.sampled_from([1, 2, 0]),
)
def test_equals_plain_loops_with_ties(labels, seed, negatives, alpha, max_ap, levels):
    """Repeated identities that do not stand together, one identity alone, equal embeddings and distances."""
    draw = np.random.default_rng(seed)
    unit, labels = made(draw, labels)
    if levels:  # few different vectors: many distances are the same
        unit = np.eye(4)[draw.integers(0, levels + 1, len(labels))]
    found, want = both(unit, labels, draw.random(len(plain_triplets.pairs_of(labels))), alpha, max_ap, negatives)
    assert found == want


def test_a_tie_is_no_semi_hard_negative():
    """Images that are as far as the positive: products of blocks of another shape may differ in the last bits."""
    draw = np.random.default_rng(0)
    other, size = draw.normal(size=128), 600
    rows = np.stack([draw.normal(size=128), *[other] * (size - 1)])
    unit, labels = to_unit(rows)[0], np.r_[0, 0, np.arange(1, size - 1)]
    for negatives, count in (("semi-hard", 0), ("violating", 1), ("hardest", 1), ("all", size - 2)):
        found, _ = both(unit[:10], labels[:10], np.zeros(1), negatives=negatives)
        assert len(found) == min(count, 8), negatives
        pairs = picking.positive_pairs(labels)
        assert len(picking.joined(picking.pick(unit, labels, pairs, np.zeros(1), 0.3, 0.0, negatives))) == count


def test_distances_that_differ_by_rounding_are_equal():
    """Only in float64 are these negatives further than the positive."""
    unit = np.eye(3)[[0, 1, 1, 1]]
    unit[2:, 0] = -1e-13
    labels = np.array([0, 0, 1, 2])
    for negatives, count in (("semi-hard", 0), ("violating", 1)):
        found, want = both(unit, labels, np.zeros(1), negatives=negatives)
        assert len(found) == count and found == want


def test_nothing_to_pick():
    draw = np.random.default_rng(1)
    for labels in ([0], [0, 1, 2], [4, 4, 4]):
        unit, labels = made(draw, labels)
        for negatives in RULES:
            found, want = both(unit, labels, np.full(3, 0.5), negatives=negatives)
            assert found == want == []


def test_each_candidate_is_picked_about_as_often():
    """One pair and four negatives in the band."""
    unit, labels = np.eye(3)[[0, 0, 1, 1, 1, 1, 2]], np.array([0, 0, 1, 2, 3, 4, 5])
    unit[1] = to_unit(np.array([[1.0, 0.9, 0.0]]))[0]
    unit[2:6] = to_unit(np.array([[0.7, 0.8, 0.1 * i] for i in range(4)]))[0]
    pairs = picking.positive_pairs(labels)
    times = np.zeros(7, int)
    for seed in range(400):
        uniforms = picking.generator(seed, 0).random(1)
        times[picking.joined(picking.pick(unit, labels, pairs, uniforms, 0.5)).negative] += 1
    assert times[[0, 1, 6]].sum() == 0 and times[2:6].min() > 70
