"""Comparison of embeddings: of two files, and in the gate of an export."""

import numpy as np
import pytest

from insight.errors import CheckFailed, InsightError
from insight.export.parity import compare_files, gate
from insight.faces.embed import Embedded, load, save


def write(path, embeddings, keys=("a", "b")):
    save(path, Embedded(np.array(embeddings, np.float32), np.array(keys), np.array([-1, -1])))
    return path


def test_cosines_and_bound(tmp_path):
    a = write(tmp_path / "a.npz", [[1, 0], [0, 2]])
    b = write(tmp_path / "b.npz", [[3, 0], [1, 1]])
    found = compare_files(a, b, bound=0.7)
    assert (found.count, found.lowest) == (2, pytest.approx(2**-0.5))
    assert found.mean == pytest.approx((1 + 2**-0.5) / 2)
    with pytest.raises(CheckFailed, match="its embeddings differ from"):
        compare_files(a, b, bound=0.71)
    with pytest.raises(CheckFailed):
        compare_files(a, write(tmp_path / "nan.npz", [[np.nan, 0], [0, 1]]), bound=-1)


def test_other_images_and_foreign_files(tmp_path):
    a = write(tmp_path / "a.npz", [[1, 0], [0, 2]])
    with pytest.raises(InsightError, match="of other images"):
        compare_files(a, write(tmp_path / "b.npz", [[1, 0], [0, 2]], keys=("a", "c")))
    with pytest.raises(InsightError, match="no such file"):
        load(tmp_path / "missing.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(InsightError, match="not an .npz that embed wrote"):
        load(tmp_path / "text.npz")


def test_one_face_below_the_bound_is_enough_for_a_gate():
    """One of eight faces, with a mean above the bound."""
    good = np.ones((8, 2), np.float32)
    bad = good.copy()
    bad[5] = [1, 0.9]
    found = gate("m.onnx", lambda faces: good, lambda faces: bad, np.empty(0), 0.99)
    assert found.mean > 0.9995 > found.lowest
    with pytest.raises(CheckFailed, match="m.onnx: its embeddings differ from MXNet's .*the lowest must be 0.9995"):
        gate("m.onnx", lambda faces: good, lambda faces: bad, np.empty(0), 0.9995)
