"""The pip package insightface opens our files, feeds them pixels in the right form, and gets our embeddings."""

import numpy as np
import pytest
from small_networks import far

from insight import engines

model_zoo = pytest.importorskip(
    "insightface.model_zoo", reason="insightface is not installed; run: pip install -e '.[test]'"
)
ROUNDING = {"r50": 1e-4}  # between MXNet and ONNX Runtime, through fifty layers of random arrays


@pytest.mark.parametrize("network", ["y1", "r50", "gluoncv:mobilenet0.25", "real"])
@pytest.mark.parametrize("graph", engines.GRAPHS)
def test_get_feat_is_our_embedding(shipped, network, graph):
    made = shipped(network)
    model = model_zoo.get_model(f"{made.folder}/{graph}.onnx", providers=["CPUExecutionProvider"])
    assert type(model).__name__ == "ArcFaceONNX"
    assert (model.input_mean, model.input_std, model.input_size) == (0.0, 1.0, (112, 112))
    ours = engines.load(f"{made.folder}/{graph}.onnx")(made.faces[:3])
    bgr = [np.ascontiguousarray(face.transpose(1, 2, 0)[:, :, ::-1]) for face in made.faces[:3]]
    assert far(ours, model.get_feat(bgr)) < 1e-5
    assert far(ours[:1], model.get_feat(bgr[0])) < 1e-5
    assert far(made.embeddings[:3], model.get_feat(bgr)) < ROUNDING.get(network, 1e-5)
