"""The second look: better points, and distrust of what is no face."""

import numpy as np
import pytest

from insight.detect.face import Face
from insight.detect.second_look import SecondLook
from insight.faces.alignment import similarity, template


@pytest.fixture(scope="module")
def second_look():
    return SecondLook()


def face_at(points):
    return Face(np.zeros(4), np.asarray(points, np.float64), 0.5)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_it_corrects_inexact_points_whatever_the_turn(second_look, photos, error_px, turn):
    draw = np.random.default_rng(0)
    errors, moved = [], []
    for pixels, truth in photos:
        points = truth[0].points
        eyes = np.hypot(*(points[1] - points[0]))
        inexact = face_at(points + draw.normal(0, 0.08 * eyes, (5, 2)))
        turned = np.ascontiguousarray(np.rot90(pixels, -turn // 90))
        size = (pixels.shape[1], pixels.shape[0])
        first = inexact._replace(points=_turned(inexact.points, turn, size))
        (face,) = second_look.look(turned, [first])
        errors.append(error_px(face.turned_back(turn, size).points, points))
        moved.append(face.moved)
        assert face.look_score > 0.95 and face.score == 0.5
    assert np.mean(errors) < 2.5 and max(errors) < 4
    assert 2 < np.mean(moved) < 10


def _turned(points, turn, size):
    for _ in range(turn // 90):
        points = np.stack([size[1] - 1 - points[:, 1], points[:, 0]], axis=1)
        size = size[::-1]
    return points


def test_moved_is_the_largest_distance_in_the_aligned_face(second_look, photos):
    pixels, truth = photos[0]
    first = face_at(truth[0].points + np.array([[3, 0], [0, 0], [0, 2], [0, 0], [-2, 0]]))
    (face,) = second_look.look(pixels, [first])
    scale = np.hypot(*similarity(first.points, template((112, 112)).astype(np.float64))[:, 0])
    expected = scale * np.hypot(*(face.points - first.points).T).max()
    assert face.moved == pytest.approx(expected, rel=1e-6)


def test_points_that_are_far_off_are_looked_at_again(second_look, photos, error_px):
    """The distance that counts is that of the last time."""
    pixels, truth = photos[0]
    points = truth[0].points
    eyes = np.hypot(*(points[1] - points[0]))
    far = face_at((points - points[2]) * 1.25 + points[2] + [0.2 * eyes, 0.15 * eyes])
    (once,) = second_look._once(pixels, [far])
    (face,) = second_look.look(pixels, [far])
    assert once.moved > 10 > face.moved and face.look_score > 0.95
    assert error_px(face.points, points) < 4


def test_faces_that_are_not_upright_have_score_0(second_look, photos):
    for pixels, truth in photos[:2]:
        centre = truth[0].points.mean(axis=0)
        for turn in (90, 180, 270):
            angle = np.radians(turn)
            matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            turned = face_at((truth[0].points - centre) @ matrix.T + centre)
            (face,) = second_look._once(pixels, [turned])
            assert face.look_score == 0


def test_what_is_no_face_is_distrusted(second_look, photos):
    pixels, _ = photos[0]
    shape = template((112, 112)).astype(np.float64)
    corner = [face_at(shape * 0.5 + [x, y]) for x in (0, 40) for y in (0, 40)]
    upside_down = [face_at(face.points[::-1]) for face in photos[0][1][:1]]
    for face in second_look.look(pixels, corner + upside_down):
        assert face.look_score < 0.7 or face.moved > 10


def test_faces_do_not_influence_each_other(second_look, photos):
    pixels, truth = photos[1]
    faces = [face_at(face.points) for face in truth] * 40
    together = second_look.look(pixels, faces)
    for k in (0, len(faces) - 1):
        (alone,) = second_look.look(pixels, [faces[k]])
        np.testing.assert_allclose(together[k].points, alone.points, atol=1e-3)
    assert second_look.look(pixels, []) == []
