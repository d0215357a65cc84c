"""An engine goes to another process as the call that opened it."""

import pickle

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from insight import engines
from insight.engines.onnxruntime import OnnxRuntimeEngine
from insight.errors import InsightError


@pytest.fixture
def network(tmp_path, monkeypatch):
    """Pixels -> (N, 2), in the working directory; returns its relative path."""
    monkeypatch.chdir(tmp_path)
    weight = np.random.default_rng(0).normal(size=(2, 48)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["data"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w"], ["out"], transB=1),
    ]
    images = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["batch", 3, 4, 4])
    rows = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", 2])
    graph = helper.make_graph(nodes, "g", [images], [rows], [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    return "net.onnx"


def test_another_process_opens_the_same(network, tmp_path, monkeypatch):
    engine = engines.load(network, engine="onnxruntime", batch_size=3, threads=1)
    data = pickle.dumps(engine)
    monkeypatch.chdir("/")  # where a worker is
    other = pickle.loads(data)
    assert len(data) < 1000
    assert (other.name, other.batch_size, other.image_size) == (engine.name, 3, (4, 4))
    images = np.random.default_rng(1).integers(0, 256, (5, 3, 4, 4)).astype(np.uint8)
    assert (other(images) == engine(images)).all()


def test_one_with_another_runtime_is_refused(network, monkeypatch):
    data = pickle.dumps(engines.load(network, engine="onnxruntime"))
    monkeypatch.setattr(OnnxRuntimeEngine, "describe", lambda self: "ONNX Runtime 0.1")
    with pytest.raises(InsightError, match="is evaluated by ONNX Runtime 0.1 here, and by ONNX Runtime [1-9]"):
        pickle.loads(data)


def test_one_that_load_has_not_opened_is_not_pickled(network):
    with pytest.raises(TypeError, match="not opened by insight.engines.load"):
        pickle.dumps(OnnxRuntimeEngine(network))
