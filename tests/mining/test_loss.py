"""The triplet loss against plain loops, finite differences, and three copies of the embeddings."""

import numpy as np
import plain_triplets
import pytest

from insight.mining import picking
from insight.mining.distances import DISTANCES, to_unit
from insight.mining.loss import BIN, SPANS, triplet_loss

LABELS = np.array([0, 1, 0, 1, 2, 2, 2, 0, 7])


def squared(a, b):
    return ((a - b) ** 2).sum()


def angle(a, b):
    return np.arccos(np.clip(a @ b, -1, 1))


PLAIN = {"euclid": squared, "angle": angle}


def rows_of(seed):
    draw = np.random.default_rng(seed)
    return draw.normal(size=(len(LABELS), 5)) * draw.uniform(0.5, 12, (len(LABELS), 1))


def triplets_of(negatives, alpha=0.5, distance="euclid"):
    """A function for triplet_loss, whose triplets stay when the embeddings move a little."""
    kept = []

    def blocks(unit):
        if not kept:
            pairs = picking.positive_pairs(LABELS)
            uniforms = np.random.default_rng(0).random(len(pairs))
            kept.extend(picking.pick(unit, LABELS, pairs, uniforms, alpha, 0.0, negatives, DISTANCES[distance]))
        return kept

    return blocks


def slopes(function, array, step=1e-6):
    result = np.empty_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + step
        above = function(array)
        array[index] = kept - step
        result[index] = (above - function(array)) / (2 * step)
        array[index] = kept
    return result


def relative(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


@pytest.mark.parametrize("distance", sorted(DISTANCES))
@pytest.mark.parametrize("over_active", [False, True])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("negatives", ["violating", "hardest", "all"])
def test_loss_and_gradient(negatives, soft, over_active, distance):
    rows = rows_of(4)
    blocks = triplets_of(negatives, distance=distance)

    def whole(rows):
        return triplet_loss(rows, blocks, 0.5, soft, over_active, DISTANCES[distance])

    result = whole(rows)
    found = list(zip(*map(np.ndarray.tolist, picking.joined(iter(blocks(None))))))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    total, learning = plain_triplets.mean_loss(unit, found, 0.5, soft, PLAIN[distance])
    assert result.triplets == len(found) > 3
    assert result.loss == pytest.approx(total / (learning if over_active else len(found)), rel=1e-12)
    assert relative(result.gradient, slopes(lambda r: whole(r).loss, rows)) < 1e-6
    assert np.abs(np.einsum("ij,ij->i", result.gradient, rows)).max() < 1e-12  # lengths do not matter
    gaps = [PLAIN[distance](unit[a], unit[n]) - PLAIN[distance](unit[a], unit[p]) for a, p, n in found]
    assert result.active == sum(gap < 0.5 for gap in gaps)
    assert result.d2_ap == pytest.approx(np.mean([squared(unit[a], unit[p]) for a, p, _ in found]))
    assert result.d2_an == pytest.approx(np.mean([squared(unit[a], unit[n]) for a, _, n in found]))
    for name, (low, high) in SPANS.items():
        assert len(result.counts[name]) == round((high - low) / BIN) and result.counts[name].sum() == len(found)


@pytest.mark.parametrize("soft", [False, True])
def test_equals_three_copies(soft):
    """The gradient of a row is the sum of those of its copies: as anchor, positive and negative."""
    rows, blocks = rows_of(9).astype(np.float32), triplets_of("all")
    joint = triplet_loss(rows, blocks, 0.5, soft)
    anchor, positive, negative = picking.joined(iter(blocks(None)))
    count = len(anchor)
    copies = np.concatenate([rows[anchor], rows[positive], rows[negative]])
    thirds = picking.Triplets(*np.arange(3 * count).reshape(3, -1))
    apart = triplet_loss(copies, lambda unit: [thirds], 0.5, soft)
    summed = np.zeros(rows.shape)
    np.add.at(summed, np.concatenate([anchor, positive, negative]), apart.gradient)
    assert joint.loss == pytest.approx(apart.loss, rel=1e-12)
    assert relative(joint.gradient, summed) < 1e-6


@pytest.mark.parametrize("distance", sorted(DISTANCES))
def test_finite_where_anchor_and_positive_coincide(distance):
    rows = rows_of(2)
    rows[2] = rows[0]
    rows[3] = 3 * rows[1]
    rows[8] = 0
    result = triplet_loss(rows, triplets_of("all", distance=distance), 0.5, distance=DISTANCES[distance])
    assert np.isfinite(result.gradient).all() and np.isfinite(result.loss) and np.abs(result.gradient).max() > 0
    same = triplet_loss(np.ones((9, 5)), triplets_of("all", distance=distance), 0.5, distance=DISTANCES[distance])
    assert same.loss == pytest.approx(0.5) and np.abs(same.gradient).max() < 1e-6


def test_without_triplets():
    result = triplet_loss(rows_of(1), lambda unit: [], 0.3)
    assert (result.loss, result.triplets, result.active) == (0, 0, 0) and not result.gradient.any()


def test_to_unit_keeps_rows_of_zeros():
    unit, lengths = to_unit(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32))
    assert unit.tolist() == [[0.6, 0.8], [0.0, 0.0]] and lengths.tolist() == [5.0, 1.0]
