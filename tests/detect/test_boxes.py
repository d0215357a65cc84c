"""Non-maximum suppression against the definition."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from insight.detect.detectors.boxes import squares, suppress, suppress_inner

SIDES = st.tuples(*[st.integers(0, 30)] * 2, *[st.integers(1, 20)] * 2)
BOXES = st.lists(SIDES, max_size=12).map(lambda rows: np.array([(x, y, x + w, y + h) for x, y, w, h in rows], float))


def by_definition(boxes, scores, most, share):
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        if all(share(boxes[i], boxes[j]) <= most for j in kept):
            kept.append(i)
    return kept


def areas(a, b):
    inner = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return inner, (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])


def over_union(a, b):
    inner, one, other = areas(a, b)
    return inner / (one + other - inner)


def over_smaller(a, b):
    inner, one, other = areas(a, b)
    return inner / min(one, other)


@given(BOXES, st.randoms(use_true_random=False))
def test_the_best_are_kept(boxes, draw):
    boxes = boxes.reshape(-1, 4)
    scores = np.array([draw.choice([0.6, 0.7, 0.8, 0.9]) for _ in boxes], np.float32)
    assert suppress(boxes, scores, 0.41).tolist() == by_definition(boxes, scores, 0.41, over_union)
    assert suppress_inner(boxes, scores, 0.71).tolist() == by_definition(boxes, scores, 0.71, over_smaller)


def test_squares_keep_the_centre():
    np.testing.assert_array_equal(squares(np.array([[0, 10, 4, 30], [5, 5, 9, 7]])), [[-8, 10, 12, 30], [5, 4, 9, 8]])
