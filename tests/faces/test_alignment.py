"""The similarity warp compared with the definition of its least squares."""

import numpy as np
import pytest

from insight.errors import InsightError
from insight.faces.alignment import similarity, template, warp


def test_a_mirrored_face_is_not_flipped_back():
    source = np.random.default_rng(3).normal(50, 30, (5, 2))
    for points in (source, source * [-1, 1]):
        assert np.linalg.det(similarity(points, template((112, 112)))[:, :2]) > 0


def test_no_nearby_transform_is_better():
    """Eq. 34 of Umeyama: the mean squared distance is at its minimum over rotation, scale and shift."""
    rng = np.random.default_rng(1)
    source, target = rng.normal(50, 30, (5, 2)), template((112, 96)).astype(float)

    def loss(matrix):
        return np.square(source @ matrix[:, :2].T + matrix[:, 2] - target).sum()

    best = similarity(source, target)
    for _ in range(200):
        a, b, x, y = rng.normal(0, 0.01, 4)
        turn = np.array([[a, -b, x * 50], [b, a, y * 50]])
        assert loss(best + turn) >= loss(best)


def test_templates():
    assert np.allclose(template((112, 112)) - template((112, 96)), [8, 0])
    with pytest.raises(InsightError, match="--image-size 96,112: alignment by landmarks is defined for 112,112"):
        template((96, 112))


def test_points_that_coincide():
    with pytest.raises(InsightError, match="the landmarks coincide"):
        similarity(np.ones((5, 2)), template((112, 112)))


def test_a_picture_too_large_to_warp():
    with pytest.raises(InsightError, match="a side of 40000 pixels, at most 32766 can be warped; scale it down"):
        warp(np.zeros((40000, 9, 3), np.uint8), template((112, 112)).T.ravel(), (112, 112))
    warp(np.zeros((9, 32766, 3), np.uint8), template((112, 112)).T.ravel(), (112, 112))


def test_warp_moves_the_points_onto_the_template():
    turn = np.array([[0.0, -2.0], [2.0, 0.0]])  # the template turned by 90 degrees and doubled
    points = template((112, 112)) @ turn.T + [320, 60]
    picture = np.zeros((400, 400, 3), np.uint8)
    for x, y in points:
        picture[int(y) - 6 : int(y) + 7, int(x) - 6 : int(x) + 7] = 255
    face = warp(picture, [*points[:, 0], *points[:, 1]], (112, 112))
    assert face.shape == (112, 112, 3)
    for x, y in template((112, 112)):
        assert face[round(float(y)), round(float(x))].tolist() == [255, 255, 255]
    assert face[5, 5].tolist() == [0, 0, 0]
