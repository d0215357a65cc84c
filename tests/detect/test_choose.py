"""Which face is meant."""

import numpy as np
import pytest

from insight.detect import choose
from insight.detect.choose import agreement, by_size, main_face
from insight.detect.face import Face

POINTS = np.arange(10.0).reshape(5, 2)


def square(x, y, side):
    return Face(np.array([x, y, x + side, y + side], float), POINTS, 1.0)


class TestMainFace:
    def test_is_the_largest(self):
        assert main_face([square(300, 200, 40), square(0, 0, 160), square(500, 300, 90)], (640, 480)) == 1

    def test_area_minus_two_squared_distances_would_be_wrong(self):
        """InsightFace's rule takes the small face here."""
        faces = [square(20, 20, 120), square(300, 220, 40)]
        middle = [(face.box[:2] + face.box[2:]) / 2 - (320, 240) for face in faces]
        rule = [120**2 - 2 * middle[0] @ middle[0], 40**2 - 2 * middle[1] @ middle[1]]
        assert np.argmax(rule) == 1 and main_face(faces, (640, 480)) == 0

    @pytest.mark.parametrize("side, chosen", [(80, 1), (76, 0)])  # 0.64 and 0.58 of the area
    def test_the_centre_decides_between_faces_of_nearly_one_size(self, side, chosen):
        assert main_face([square(0, 0, 100), square(280, 200, side)], (640, 480)) == chosen

    def test_one(self):
        assert main_face([square(0, 0, 1)], (10, 10)) == 0


def test_by_size():
    faces = [square(5, 0, 10), square(0, 0, 10), square(0, 0, 30)]
    assert [face.box[0] for face in by_size(faces)] == [0, 0, 5]
    assert by_size(faces)[0].box[2] == 30
    assert [face.box.tolist() for face in by_size(faces[::-1])] == [face.box.tolist() for face in by_size(faces)]


def folder(photos, seed=0, noise=0.5, length=64):
    """Embeddings, photo and main flag of the faces of photos, which are lists of people, the main face first."""
    rng = np.random.default_rng(seed)
    people = rng.normal(size=(100, length))
    people /= np.linalg.norm(people, axis=1, keepdims=True)
    rows, numbers, main = [], [], []
    for number, present in enumerate(photos):
        for place, person in enumerate(present):
            row = people[person] + rng.normal(size=length) * noise / np.sqrt(length)
            rows.append(row / np.linalg.norm(row))
            numbers.append(number)
            main.append(place == 0)
    return np.array(rows, np.float32), np.array(numbers), np.array(main)


def chosen(photos, **options):
    """The person taken in each photo, and whether the folder is ambiguous."""
    rows, numbers, main = folder(photos, **options)
    agreed = agreement(rows, numbers, main)
    best = [int(agreed.cosines[numbers == k].argmax()) for k in range(len(photos))]
    return [present[k] for present, k in zip(photos, best)], agreed


class TestAgreement:
    def test_strangers(self):
        photos = [[0, 10], [0], [11, 0], [12, 0], [0, 13], [14, 0]]  # the largest face is right in half of them
        people, agreed = chosen(photos)
        assert people == [0] * 6 and not agreed.ambiguous

    def test_a_companion_in_all_photos(self):
        people, agreed = chosen([[0, 1]] * 7 + [[1, 0]] * 3)
        assert people == [0] * 10 and not agreed.ambiguous

    def test_two_people_who_are_equally_likely(self):
        assert chosen([[0, 1], [1, 0], [0, 1], [1, 0]])[1].ambiguous

    def test_photo_without_the_person(self):
        rows, numbers, main = folder([[0, 1], [0], [0, 2], [3, 4], [0]])
        cosines = agreement(rows, numbers, main).cosines
        assert (cosines[numbers == 3] < choose.LOWEST).all()
        assert (cosines[main & (numbers != 3)] > choose.LOWEST).all()

    def test_blocks(self, monkeypatch):
        rows, numbers, main = folder([[k % 7, 20 + k] for k in range(40)])
        whole = agreement(rows, numbers, main)
        monkeypatch.setattr(choose, "BLOCK", 7)
        assert np.allclose(agreement(rows, numbers, main).cosines, whole.cosines, atol=1e-6)

    def test_counts_against_a_plain_loop(self):
        rows, numbers, main = folder([[0, 1, 2], [1, 0], [3], [0, 3, 1], [2, 0]], noise=1.0)
        starts = np.flatnonzero(np.r_[True, numbers[1:] != numbers[:-1]])
        expected = []
        for row in rows:
            total = 0.0
            for photo in range(5):
                close = [(1.0 if main[j] else 0.5) for j in np.flatnonzero(numbers == photo) if rows[j] @ row > 0.35]
                total += max(close, default=0.0)
            expected.append(total)
        assert choose._counts(rows, starts, np.where(main, 1.0, 0.5)).tolist() == expected
