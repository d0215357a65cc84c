"""The choice of the runtime of a model, and that the embeddings do not depend on it."""

import numpy as np
import pytest
from small_networks import S, evaluate, filled, images, mobile, residual, training

from insight import checkpoint, engines
from insight.checkpoint import Checkpoint
from insight.engines.engine import Unable
from insight.errors import InsightError


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("model"), mobile())


def saved(folder, symbol, **labels):
    checkpoint.save(str(folder / "net"), 3, Checkpoint(*filled(symbol, **labels)))
    return f"{folder}/net,3"


def lowest_cosine(a, b):
    a, b = (rows.astype(np.float64) for rows in (a, b))
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def without(monkeypatch, *names):
    for name in names:
        monkeypatch.setattr(engines.ENGINES.get(name), "installed", staticmethod(lambda: False))


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("make", [mobile, residual])
def test_a_checkpoint_runs_anywhere(tmp_path, make, runtime):
    network = filled(make())
    checkpoint.save(str(tmp_path / "net"), 0, Checkpoint(*network))
    engine = engines.load(f"{tmp_path}/net,0", engine=runtime)
    assert (engine.name, engine.image_size, engine.dimension) == (runtime, (112, 112), 6)
    found = engine(images(9))
    assert found.dtype == np.float32
    assert lowest_cosine(evaluate(*network, images(9)), found) >= 0.99999


def test_a_training_graph_is_cut(tmp_path):
    engine = engines.load(saved(tmp_path, training(mobile()), softmax_label=(1,)), engine="openvino")
    assert engine(images(2)).shape == (2, 6)


def test_the_real_network_is_the_same_everywhere(model_y1):
    from insight.export.parity import random_faces

    spec, faces = f"{model_y1[0]},{model_y1[1]}", random_faces(12, (112, 112))
    plain = engines.load(spec, graph="plain")(faces)
    for runtime in ("mxnet", "onnxruntime", "openvino"):
        assert lowest_cosine(plain, engines.load(spec, engine=runtime)(faces)) >= 0.99999


def test_bfloat16_is_close_to_float32_and_not_the_same(model_y1, openvino_bfloat16):
    from insight.export.parity import random_faces

    spec, faces = f"{model_y1[0]},{model_y1[1]}", random_faces(12, (112, 112))
    plain = engines.load(spec)(faces)
    rough = lowest_cosine(plain, engines.load(spec, engine="openvino", dtype="bfloat16")(faces))
    assert 0.999 < rough < 0.99999  # or float32 is none, or bfloat16 is none


def test_auto_is_the_fastest_installed_runtime(spec, monkeypatch):
    assert engines.load(spec).name == "mxnet"
    for last in ("openvino", "onnxruntime", "mxnet"):
        assert engines.load(spec, engine="auto").name == last
        without(monkeypatch, last)


def test_auto_on_a_gpu_is_mxnet(spec):
    with pytest.raises(InsightError, match=r"--device gpu:7: MXNet sees"):
        engines.load(spec, device="gpu:7", engine="auto")
    with pytest.raises(InsightError, match=r"--device gpu:0: OpenVINO evaluates on the CPU"):
        engines.load(spec, device="gpu", engine="openvino")


def test_operators_without_onnx_translation_run_in_mxnet(tmp_path):
    spec = saved(tmp_path, S.sin(mobile(), name="fc1_sin"))
    plain = engines.load(spec)
    assert engines.load(spec, engine="auto").name == "openvino"  # cut off behind fc1
    spec = saved(tmp_path, S.FullyConnected(S.sin(S.Variable("data")), num_hidden=4, name="fc1"))
    plain, auto = engines.load(spec), engines.load(spec, engine="auto")
    assert auto.name == "mxnet"
    assert (auto(images(2)) == plain(images(2))).all()
    with pytest.raises(Unable, match=r"net,3: operator sin at node .* no ONNX translation.*--engine mxnet evaluates"):
        engines.load(spec, engine="openvino")


def test_the_error_of_a_damaged_file_is_that_of_the_last_runtime(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no protobuf")
    with pytest.raises(InsightError, match="bad.onnx: OpenVINO does not load it"):
        engines.load(str(tmp_path / "bad.onnx"), engine="openvino")
    with pytest.raises(InsightError, match="bad.onnx: ONNX Runtime does not load it"):
        engines.load(str(tmp_path / "bad.onnx"), engine="auto")


def test_incompatible_options_are_errors(spec):
    with pytest.raises(
        InsightError, match="--engine 'tpu' is not known; known: auto, mxnet, ncnn, onnxruntime, openvino"
    ):
        engines.load(spec, engine="tpu")
    with pytest.raises(InsightError, match="--engine mxnet: does not take --model m.onnx; these do: openvino, onnxr"):
        engines.load("m.onnx", engine="mxnet")
    with pytest.raises(InsightError, match="--dtype bfloat16: mxnet does not compute in it; these do: openvino"):
        engines.load(spec, engine="mxnet", dtype="bfloat16")
    with pytest.raises(InsightError, match="--dtype 'float16' is not known; known: float32, bfloat16"):
        engines.load(spec, dtype="float16")


def test_bfloat16_selects_a_runtime_that_supports_it(spec, monkeypatch):
    without(monkeypatch, "openvino")
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(InsightError, match="OpenVINO is not installed, or does not load"):  # not MXNet in float32
        engines.load(spec, engine="auto", dtype="bfloat16")


def test_the_files_of_a_model():
    assert [path.name for path in engines.model_files("a/net,3")] == ["net-symbol.json", "net-0003.params"]
    assert [path.name for path in engines.model_files("m.xml")] == ["m.xml", "m.bin"]
    assert [path.name for path in engines.model_files("m.param")] == ["m.param", "m.bin"]
    assert [path.name for path in engines.model_files("m.onnx")] == ["m.onnx"]
