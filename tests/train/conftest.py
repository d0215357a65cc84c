"""A tiny set to train on."""

import cv2
import numpy as np
import pytest

from insight._mxnet import mx
from insight.formats import evalbin


def face(identity: int, draw) -> bytes:
    """A 112x112 JPEG whose stripes are the identity, under noise."""
    rows = np.sin(np.arange(112) * (identity + 1) / 9)[:, None, None] * 80 + 128
    pixels = np.clip(rows + draw.normal(0, 25, (112, 112, 3)), 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


@pytest.fixture(scope="module")
def set_dir(tmp_path_factory):
    """Three identities, eight images each, in a plain im2rec-style set, and a verification set ``val``."""
    folder = tmp_path_factory.mktemp("set")
    draw = np.random.default_rng(0)
    record = mx.recordio.MXIndexedRecordIO(str(folder / "train.idx"), str(folder / "train.rec"), "w")
    for key in range(24):
        header = mx.recordio.IRHeader(0, float(key % 3), key, 0)
        record.write_idx(key, mx.recordio.pack(header, face(key % 3, draw)))
    record.close()
    (folder / "property").write_text("3,112,112\n")
    images = [face(i, draw) for i in (0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 0)]
    evalbin.write_bin(folder / "val.bin", images, np.array([True, False] * 3))
    return folder
