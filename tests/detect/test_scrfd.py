"""SCRFD's outputs are decoded as its file means them, for every form of file that there is."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from scrfd_file import EDGES, POINTS, scrfd

from insight.detect.detectors.scrfd import Scrfd
from insight.errors import InsightError


@pytest.mark.parametrize("batch", [False, True], ids=["rows", "batch of rows"])
@pytest.mark.parametrize("size", [None, (256, 320)], ids=["any size", "fixed size"])
@pytest.mark.parametrize(("x", "y", "stride"), [(40, 24, 8), (112, 48, 16), (64, 160, 32)])
def test_a_bright_pixel_is_a_face(tmp_path, batch, size, x, y, stride):
    """The pixel lies on the grid of its stride and of the finer ones, which find it too, with smaller boxes."""
    detector = Scrfd(scrfd(tmp_path / "s.onnx", size, batch))
    pixels = np.zeros((203, 301, 3), np.uint8)
    pixels[y, x] = 230
    faces = [face for face in detector.detect(pixels, 1) if face.box[2] - face.box[0] == 4 * stride]
    assert len(faces) == 1
    left, top, right, bottom = np.array(EDGES) * stride
    np.testing.assert_allclose(faces[0].box, [x - left, y - top, x + right, y + bottom])
    np.testing.assert_allclose(faces[0].points, np.array(POINTS).reshape(5, 2) * stride + [x, y])
    assert faces[0].score == pytest.approx(230 / 255, abs=1e-3)


def test_overlapping_and_small_faces_are_left_out(tmp_path):
    detector = Scrfd(scrfd(tmp_path / "s.onnx"))
    pixels = np.zeros((128, 128, 3), np.uint8)
    pixels[64, 56], pixels[64, 64] = 200, 250  # of stride 8, but the second of all strides
    assert all(face.score > 0.9 for face in detector.detect(pixels, 1))
    assert sorted(face.box[3] - face.box[1] for face in detector.detect(pixels, 1)) == [48, 96, 192]
    assert sorted(face.box[3] - face.box[1] for face in detector.detect(pixels, 90)) == [96, 192]


def test_a_photo_larger_than_a_fixed_size_is_scaled_down(tmp_path):
    detector = Scrfd(scrfd(tmp_path / "s.onnx", (128, 128)))
    pixels = np.zeros((256, 512, 3), np.uint8)
    pixels[128:132, 256:260] = 255  # becomes the pixel (64, 32)
    faces = [face for face in detector.detect(pixels, 1) if face.box[2] - face.box[0] == 4 * 32 * 4]
    assert len(faces) == 1
    np.testing.assert_allclose(faces[0].points[2], [257.5, 129.5])


def test_a_photo_is_never_enlarged(tmp_path):
    detector = Scrfd(scrfd(tmp_path / "s.onnx", (640, 640)))
    pixels = np.zeros((100, 90, 3), np.uint8)
    pixels[64, 32] = 255
    boxes = [face.box for face in detector.detect(pixels, 1)]
    assert sorted(box[2] - box[0] for box in boxes) == [32, 64, 128]


class TestOtherFiles:
    def test_without_points(self, tmp_path):
        with pytest.raises(InsightError, match=r"s.onnx: has 6 outputs .*; want an SCRFD network with five points"):
            Scrfd(scrfd(tmp_path / "s.onnx", points=False))

    def test_of_other_outputs(self, tmp_path):
        image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, None, None])
        names = [f"y{i}" for i in range(9)]
        nodes = [helper.make_node("Relu", ["x"], [name]) for name in names]
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, None, None]) for name in names]
        model = helper.make_model(helper.make_graph(nodes, "g", [image], values), ir_version=7)
        model.opset_import[0].version = 11
        onnx.save(model, tmp_path / "x.onnx")
        with pytest.raises(InsightError, match=r"x.onnx: outputs of 1 columns have \[\] rows; want an SCRFD"):
            Scrfd(str(tmp_path / "x.onnx"))

    def test_no_network(self, tmp_path):
        (tmp_path / "x.onnx").write_bytes(b"nothing")
        with pytest.raises(InsightError, match=r"x.onnx: ONNX Runtime does not load it \(.*\); want a network in ONNX"):
            Scrfd(str(tmp_path / "x.onnx"))
