"""The photos that the quality of alignment is measured on."""

import alignment_photos as photos
import cv2
import numpy as np
import pytest


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_points_turn_with_the_photo(tmp_path, turn):
    pixels = np.zeros((30, 50, 3), np.uint8)
    points = np.array([[4, 6], [40, 8], [22, 14], [10, 24], [44, 26]])
    for number, (x, y) in enumerate(points):
        pixels[y - 1 : y + 2, x - 1 : x + 2] = 80 + 40 * number
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    folder = photos.turned(tmp_path, tmp_path / "turned", ["a.png"], turn)
    after = cv2.imread(str(folder / "a.png"))
    assert after.shape[:2] == ((50, 30) if turn in (90, 270) else (30, 50))
    for number, (x, y) in enumerate(photos.turn_points(points, photos.size_of(tmp_path / "a.png"), turn)):
        assert (after[y - 1 : y + 2, x - 1 : x + 2] == 80 + 40 * number).all()


@pytest.mark.parametrize("same_companion", [False, True])
def test_two_people_side_by_side(tmp_path, monkeypatch, same_companion):
    monkeypatch.setattr(photos, "PEOPLE", 4)
    source, grey = tmp_path / "people", {}
    for person in range(12):  # the first four have most images
        (source / f"{person:02d}").mkdir(parents=True)
        grey[person] = 20 + 20 * person
        for i in range(8 if person < 4 else 3):
            pixels = np.full((112, 112, 3), grey[person], np.uint8)
            cv2.imwrite(str(source / f"{person:02d}/{i}.png"), pixels)
    sides = photos.side_by_side(source, tmp_path / "raw", same_companion)
    written = sorted(str(path.relative_to(tmp_path / "raw")) for path in (tmp_path / "raw").rglob("*.jpg"))
    assert len(written) == 32 and set(sides) < set(written) and 12 < len(sides) < 28
    companions = {}
    for name, side in sides.items():
        photo = cv2.imread(str(tmp_path / "raw" / name))
        halves = np.split(photo, [photos.WIDTH // 2], axis=1)
        levels = [int(np.bincount(half.ravel(), minlength=256).argmax()) for half in halves]
        person = int(name.split("/")[0])
        assert abs(levels[side] - grey[person]) <= 2
        companions.setdefault(person, set()).add(levels[1 - side])
    assert all((len(levels) == 1) is same_companion for levels in companions.values())
    assert photos.side(np.array([10, 10, 200, 200])) == 0 and photos.side(np.array([250, 10, 470, 200])) == 1
