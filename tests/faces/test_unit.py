"""Rows to unit length."""

import numpy as np
import pytest

from insight.errors import InsightError
from insight.faces.unit import directions, scale_to_unit, unit_rows


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_keep_their_type_and_zeros_stay(dtype):
    rows = np.array([[3, 4], [0, 0]], dtype)
    unit = unit_rows(rows)
    assert unit.dtype == dtype
    np.testing.assert_allclose(unit, [[0.6, 0.8], [0, 0]], rtol=1e-6)
    assert rows[0, 0] == 3


def test_scaling_in_place():
    rows = np.array([[3, 4], [0, 0]], np.float32)
    assert scale_to_unit(rows) is rows
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0]], rtol=1e-6)


def test_lengths_are_summed_in_float64():
    rows = np.random.default_rng(0).normal(size=(7, 513)).astype(np.float32)
    lengths = np.sqrt((rows.astype(np.float64) ** 2).sum(1)).astype(np.float32)
    np.testing.assert_array_equal(directions(rows, "gallery: embedding"), rows / lengths[:, None])


def test_directions_leave_the_embeddings_as_they_are():
    rows = np.full((2, 4), 2, np.float32)
    np.testing.assert_array_equal(directions(rows, "gallery: embedding"), np.full((2, 4), 0.5))
    assert (rows == 2).all()


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_a_row_without_a_direction_is_named(value):
    rows = np.ones((3, 4), np.float32)
    rows[1] = value
    with pytest.raises(InsightError, match=r"^gallery: embedding 11 \(from 0\) is zero or not finite"):
        directions(rows, "gallery: embedding", 10)
