"""The layout of a .params file against the bytes that MXNet writes."""

import struct
from pathlib import Path

import numpy as np

from insight._mxnet import mx
from insight.arrays.params_layout import TYPES, lay_out, stored_arrays


def test_bytes_are_mxnets(tmp_path):
    draw = np.random.default_rng(0)
    arrays = {"arg:fc7_weight": draw.normal(size=(5, 3)).astype(np.float32), "aux:ü": np.zeros(1, np.float32)}
    arrays.update({f"arg:{kind}": draw.integers(0, 100, (2, 1, 4)).astype(kind) for kind in TYPES})
    path = tmp_path / "x.params"
    mx.nd.save(str(path), {name: mx.nd.array(array, dtype=array.dtype) for name, array in arrays.items()})
    layout = lay_out({name: (array.shape, array.dtype) for name, array in arrays.items()})
    data = bytearray(layout.size)
    for name, array in arrays.items():
        data[layout.begins[name] : layout.begins[name] + array.nbytes] = array.tobytes()
    for offset, text in layout.texts:
        data[offset : offset + len(text)] = text
    assert bytes(data) == path.read_bytes()
    stored = stored_arrays(path)
    assert list(stored) == list(arrays)
    for name, array in arrays.items():
        assert (stored[name].shape, stored[name].dtype) == (array.shape, array.dtype)
        np.testing.assert_array_equal(stored[name].read(), array)
    np.testing.assert_array_equal(stored["arg:fc7_weight"].read(slice(2, 4)), arrays["arg:fc7_weight"][2:4])


def test_other_layouts_are_none(tmp_path):
    path = tmp_path / "x.params"
    mx.nd.save(str(path), {"a": mx.nd.ones((2, 3))})
    whole = path.read_bytes()
    older = whole[:24] + struct.pack("<I", 0xF993FAC8) + whole[28:]  # V1
    for data in (b"", whole[:20], whole[:-3], older, b"x" * 100):
        path.write_bytes(data)
        assert stored_arrays(path) is None


def test_a_real_checkpoint(model_y1):
    path = Path(f"{model_y1[0]}-{model_y1[1]:04d}.params")
    arrays, stored = mx.nd.load(str(path)), stored_arrays(path)
    assert stored is not None and list(stored) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(stored[name].read(), array.asnumpy())
