"""At which size and which way up a photo's faces are found, and what is refused."""

import pickle
from typing import List

import marked_photos as marked
import numpy as np
import pytest

from insight.detect import find
from insight.detect.detectors.detector import Detector
from insight.detect.face import Face
from insight.detect.find import finder
from insight.detect.photo import Photo
from insight.errors import InsightError


def photo_of(pixels, **options):
    return Photo(marked.encoded(pixels, "JPEG", **options))


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_turned_photos(mtcnn, photos, error_px, turn):
    """A photo that was turned anticlockwise must be turned clockwise to be upright."""
    right = 0
    for pixels, truth in photos:
        turned = np.ascontiguousarray(np.rot90(pixels, turn // 90))
        found = mtcnn.find(photo_of(turned))
        size = (turned.shape[1], turned.shape[0])
        expected = Face(np.zeros(4), truth[0].points, 1.0).turned_back(turn, size).points
        errors = [error_px(face.points, expected) for face in found.faces]
        right += found.turn == turn and min(errors, default=99) < 4
        for face in found.faces:
            middle = face.points.mean(axis=0)
            assert (face.box[:2] < middle).all() and (middle < face.box[2:]).all()
    assert right >= len(photos) - (turn > 0)


def test_exif_orientation_is_no_turn(mtcnn, photos, error_px):
    pixels, truth = photos[0]
    for orientation in (3, 6, 8):
        found = mtcnn.find(photo_of(pixels, orientation=orientation))
        assert found.turn == 0 and min(error_px(face.points, truth[0].points) for face in found.faces) < 4


def test_coordinates_are_those_of_the_whole_photo(mtcnn, photos, error_px):
    pixels, truth = photos[0]
    large = np.repeat(np.repeat(pixels, 3, axis=0), 3, axis=1)
    found = mtcnn.find(photo_of(large))
    points = (truth[0].points + 0.5) * 3 - 0.5
    assert min(error_px(face.points, points) for face in found.faces) < 4 and found.longest == 480


def test_a_photo_without_faces(mtcnn):
    assert mtcnn.find(photo_of(marked.spotted((300, 200)))) == ([], 300, 0)
    assert mtcnn.find(photo_of(np.zeros((1, 1, 3), np.uint8))).faces == []


class Scripted(Detector):
    """Gives one face in each attempt, and notes the attempts; ``looks`` are the second look's results."""

    def __init__(self, looks=()):
        super().__init__()
        self.attempts: List[tuple] = []
        self.looks = list(looks)

    def detect(self, pixels, smallest):
        self.attempts.append((pixels.shape[:2], smallest))
        return [Face(np.zeros(4), np.zeros((5, 2)), 1.0)] * (len(self.looks) >= len(self.attempts))

    def look(self, pixels, faces):
        score, moved = self.looks[len(self.attempts) - 1] if faces else (0, 0)
        return [face._replace(look_score=score, moved=moved) for face in faces]


def search(looks, size):
    scripted = Scripted(looks)
    instance = find.Finder("scripted", "scripted", scripted)
    instance._second_look.look = scripted.look
    found = instance.find(photo_of(np.zeros((size[1], size[0], 3), np.uint8)))
    return found, scripted.attempts


ALL = [  # shape, smallest face, longest side without the border, turn
    ((360, 480), 40, 480, 0),
    ((600, 720), 40, 480, 0),
    ((960, 1280), 20, 1280, 0),
    ((480, 360), 40, 480, 90),
    ((360, 480), 40, 480, 180),
    ((480, 360), 40, 480, 270),
]
GOOD, FAIR, WEAK, FAR = (0.96, 9.9), (0.71, 9.9), (0.69, 0.0), (0.99, 10.1)


@pytest.mark.parametrize("right", range(6))
def test_attempts_end_where_the_second_look_is_sure(right):
    found, attempts = search([*[WEAK, FAR, WEAK, FAR, WEAK, FAR][:right], GOOD], (1600, 1200))
    assert attempts == [attempt[:2] for attempt in ALL[: right + 1]]
    assert (len(found.faces), found.longest, found.turn) == (1, *ALL[right][2:])


def test_an_upright_face_that_is_trusted_is_kept_where_none_is_sure():
    found, attempts = search([WEAK, FAIR, FAIR, FAIR, FAIR, FAIR], (1600, 1200))
    assert (len(attempts), len(found.faces), found.longest, found.turn) == (6, 1, 480, 0)
    found, _ = search([WEAK, FAR, WEAK, FAIR, FAIR, WEAK], (1600, 1200))
    assert (found.faces, found.turn) == ([], 0)


@pytest.mark.parametrize(
    ("large", "expected"),
    [
        ([FAR, GOOD], (2, 2, 480)),  # attempts, faces, longest side
        ([WEAK, FAR, FAIR], (3, 2, 1280)),
        ([WEAK, WEAK, WEAK], (3, 1, 480)),  # the smaller one, and no turns
        ([FAIR], (1, 2, 480)),
    ],
)
def test_the_largest_face_is_looked_for_again_where_it_is_distrusted(large, expected):
    small = Face(np.array([0.0, 0, 9, 9]), np.zeros((5, 2)), 1.0)
    scripted = Scripted()
    scripted.detect = lambda pixels, smallest: [small, small._replace(box=np.array([20.0, 0, 50, 30]))]

    def look(pixels, faces):
        scripted.attempts.append(pixels.shape)
        return [
            f._replace(look_score=s, moved=m) for f, (s, m) in zip(faces, [GOOD, large[len(scripted.attempts) - 1]])
        ]

    instance = find.Finder("scripted", "scripted", scripted)
    instance._second_look.look = look
    found = instance.find(photo_of(np.zeros((1200, 1600, 3), np.uint8)))
    assert (len(scripted.attempts), len(found.faces), found.longest) == expected and found.turn == 0


def test_points_found_with_a_border_are_those_of_the_photo(mtcnn, photos, error_px):
    """A photo cut down to the eyes, nose and mouth: its face is found with a border only."""
    cut = 0
    for pixels, truth in photos:
        low = np.floor(truth[0].points.min(axis=0)).astype(int)
        high = np.ceil(truth[0].points.max(axis=0)).astype(int)
        room = ((high - low) * 0.35).astype(int)
        left, top = np.maximum(low - room, 0)
        photo = photo_of(np.ascontiguousarray(pixels[top : high[1] + room[1], left : high[0] + room[0]]))
        if mtcnn._search(photo, max(photo.size), 20, 0, 0).found.faces:
            continue
        faces = mtcnn._search(photo, max(photo.size), 20, 0, find.BORDER).found.faces
        cut += bool(faces) and min(error_px(face.points, truth[0].points - [left, top]) for face in faces) < 6
    assert cut >= 1


@pytest.mark.parametrize(
    ("size", "first"),
    [
        ((300, 200), [((200, 300), 25), ((350, 450), 25), ((200, 300), 20)]),
        ((240, 100), [((100, 240), 20), ((220, 360), 20), ((240, 100), 20)]),  # the third would be as the first
        ((700, 350), [((240, 480), 40), ((480, 720), 40), ((350, 700), 20)]),
    ],
)
def test_small_photos_are_not_enlarged(size, first):
    _, attempts = search([], size)
    assert attempts[:3] == first


def test_a_finder_can_be_sent_to_another_process(mtcnn, photos):
    photo = photo_of(photos[0][0])
    copy = pickle.loads(pickle.dumps(mtcnn))
    assert copy.identity == mtcnn.identity
    for one, other in zip(mtcnn.find(photo).faces, copy.find(photo).faces):
        np.testing.assert_array_equal(one.points, other.points)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("dlib", "^detector 'dlib' is not known; known: mtcnn, scrfd, yunet$"),
        ("yunet", "^--detector yunet: the file is missing; want yunet:FILE, a YuNet network in ONNX$"),
        ("scrfd:", "^--detector scrfd:: the file is missing; want scrfd:FILE, an SCRFD network"),
        ("mtcnn:x.onnx", "^--detector mtcnn:x.onnx: mtcnn takes no file; want --detector mtcnn$"),
        ("yunet:gone.onnx", "^--detector yunet:gone.onnx: no such file: gone.onnx; want a YuNet network in ONNX$"),
    ],
)
def test_what_is_no_detector_is_one_line(spec, message):
    with pytest.raises(InsightError, match=message):
        finder(spec)


def test_identities_tell_detectors_and_files_apart(mtcnn, real_data):
    import json

    yunet = finder(f"yunet:{real_data}/models/yunet/yunet_n_640_640.onnx").identity
    assert yunet["sha256"].startswith("25a606a145a5b6d7271ae138fbd00eba91dad8b83222ae3f2c7ecd0f4a7b0e31"[:8])
    assert mtcnn.identity != yunet and json.loads(json.dumps(yunet)) == yunet
    assert json.loads(json.dumps(mtcnn.identity)) == mtcnn.identity


def test_johns(mtcnn, real_data):
    """Five people, eleven photos each; a quarter of them here."""
    import tarfile

    with tarfile.open(real_data / "data/johns.tar") as tar:
        members = [member for member in tar.getmembers() if member.isfile()]
        for member in members[::4]:
            found = mtcnn.find(Photo(tar.extractfile(member).read()))
            assert found.faces and found.turn == 0 and found.faces[0].look_score > 0.95, member.name
