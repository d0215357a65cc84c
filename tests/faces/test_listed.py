"""Sources that a list names: aligned images, and photos with five points."""

import cv2
import numpy as np
import pytest
from made_faces import encode, face

from insight.errors import InsightError
from insight.faces.alignment import warp
from insight.faces.listed import ListedSource, PhotoSource

# An Exif block with the orientation 6: the photo was taken with the camera turned.
TURNED = b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
POINTS = np.float32([60, 95, 78, 64, 92, 70, 71, 90, 110, 111])  # five x, five y


@pytest.fixture
def photos(tmp_path):
    """``a.jpg``, ``b.png`` and ``turned.jpg``, which is stored lying on its side."""
    (tmp_path / "a.jpg").write_bytes(encode(face(1, 180, 150)))
    (tmp_path / "b.png").write_bytes(encode(face(2, 112, 112), ".png"))
    data = encode(face(3, 150, 180))
    (tmp_path / "turned.jpg").write_bytes(data[:2] + TURNED + data[2:])
    return tmp_path


@pytest.mark.parametrize("name", ["a.jpg", "turned.jpg"])
@pytest.mark.parametrize("size", [(112, 112), (112, 96)])
def test_faces_are_aligned_in_photos_as_opencv_reads_them(photos, name, size):
    source = PhotoSource(photos, [name], POINTS[None])
    photo = cv2.imread(str(photos / name))
    assert photo.shape == (180, 150, 3)  # upright
    want = cv2.cvtColor(warp(photo, POINTS, size), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(source.pixels(0, size), want.transpose(2, 0, 1))


def test_listed_images_are_used_as_they_are(photos):
    source = ListedSource(photos, ["b.png"])
    np.testing.assert_array_equal(source.pixels(0, (112, 112))[::-1].transpose(1, 2, 0), face(2, 112, 112))
    with pytest.raises(InsightError, match=r"b\.png: is 112x112 \(height x width\), the network takes 96x96"):
        source.pixels(0, (96, 96))


def test_a_digest_is_of_names_and_points(photos):
    sources = [
        PhotoSource(photos, ["a.jpg", "b.png"], np.stack([POINTS, POINTS])),
        PhotoSource(photos, ["a.jpg", "b.png"], np.stack([POINTS, POINTS + 1])),
        PhotoSource(photos, ["b.png", "a.jpg"], np.stack([POINTS, POINTS])),
        ListedSource(photos, ["a.jpg", "b.png"]),
    ]
    assert len({source.digest() for source in sources}) == 4
    assert sources[0].digest() == PhotoSource(photos, ["a.jpg", "b.png"], np.stack([POINTS, POINTS])).digest()


def test_errors(photos):
    with pytest.raises(InsightError, match="gone: no such folder; want the one in which the paths of the list begin"):
        ListedSource(photos / "gone", ["a.jpg"])
    (photos / "c.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    source = PhotoSource(photos, ["a.jpg", "c.jpg", "d.jpg"], np.stack([POINTS * 0, POINTS, POINTS]))
    with pytest.raises(InsightError, match=r"a\.jpg: the landmarks coincide"):
        source.pixels(0, (112, 112))
    with pytest.raises(InsightError, match=r"c\.jpg: not a readable image"):
        source.pixels(1, (112, 112))
    with pytest.raises(InsightError, match=r"--image-size 96,96: alignment by landmarks is defined for 112,112 and"):
        source.pixels(1, (96, 96))
    with pytest.raises(InsightError, match=r"d\.jpg: no such file; want all images of the list"):
        source.check()
