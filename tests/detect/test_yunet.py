"""YuNet's file in OpenCV."""

import numpy as np
import pytest
from scrfd_file import scrfd

from insight.detect.detectors.yunet import YuNet
from insight.errors import InsightError


@pytest.fixture(scope="module")
def yunet(real_data):
    return YuNet(str(real_data / "models/yunet/yunet_n_640_640.onnx"))


def test_finds_the_true_points(yunet, photos, error_px):
    errors = []
    for pixels, truth in photos:
        best = max(yunet.detect(pixels, 20), key=lambda face: face.box[2] - face.box[0])
        assert 0.6 <= best.score <= 1 and best.look_score != best.look_score
        errors.append(error_px(best.points, truth[0].points))
        inner = (best.points > best.box[:2]) & (best.points < best.box[2:])
        assert inner.all()
    assert np.median(errors) < 7


def test_sizes_may_change_and_small_faces_are_left_out(yunet, photos):
    pixels, _ = photos[0]
    first = yunet.detect(pixels, 20)
    assert yunet.detect(np.ascontiguousarray(pixels[:301, :333]), 20) is not None
    again = yunet.detect(pixels, 20)
    np.testing.assert_array_equal([face.points for face in first], [face.points for face in again])
    largest = max((face.box[2:] - face.box[:2]).max() for face in first)
    assert len(yunet.detect(pixels, largest - 1)) == 1
    assert yunet.detect(pixels, largest + 1) == []
    assert yunet.detect(np.zeros((1, 1, 3), np.uint8), 20) == []


def test_other_files_are_one_line(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    for file in (str(tmp_path / "x.onnx"), scrfd(tmp_path / "s.onnx")):
        with pytest.raises(InsightError, match=r"\.onnx: OpenCV does not run it \(.*\); want a YuNet network in ONNX$"):
            YuNet(file)
