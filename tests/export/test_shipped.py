"""All exported files of a network give the same embeddings as the checkpoint in plain MXNet, in any batch."""

import cv2
import numpy as np
import onnxruntime
import pytest
from small_networks import far
from whole_networks import in_plain_mxnet

from insight.export import parity


def in_onnx_runtime(path):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda faces: session.run(None, {"data": faces.astype(np.float32)})[0]


def in_opencv(path):
    """One network for all batches, as a service would keep it."""
    network = cv2.dnn.readNetFromONNX(str(path))

    def run(faces):
        network.setInput(faces.astype(np.float32))
        return network.forward()

    return run


WAYS = {
    "slim": lambda folder: in_plain_mxnet(f"{folder}/slim", 0),
    "folded": lambda folder: in_plain_mxnet(f"{folder}/folded", 0),
    "plain in ONNX Runtime": lambda folder: in_onnx_runtime(folder / "plain.onnx"),
    "fast in ONNX Runtime": lambda folder: in_onnx_runtime(folder / "fast.onnx"),
    "plain in cv2.dnn": lambda folder: in_opencv(folder / "plain.onnx"),
    "fast in cv2.dnn": lambda folder: in_opencv(folder / "fast.onnx"),
}


@pytest.mark.parametrize("network", ["y1", "y1 version_se=1", "y1 version_eca=1", "r50", "real"])
@pytest.mark.parametrize("way", WAYS)
def test_embeds_as_plain_mxnet(shipped, network, way):
    made = shipped(network)
    run = WAYS[way](made.folder)
    for batch in made.batches:
        want, got = made.embeddings[:batch], run(made.faces[:batch])
        assert parity.compare(want, got).lowest >= 0.99999, batch
        assert far(want, got) < 1e-4, batch  # random networks see all faces alike, so a cosine alone says little
