"""Engines: any number of images, the same numbers in all runtimes, clear messages for models that do not open."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_networks import evaluate, far, filled, images, mobile, residual

from insight import checkpoint, engines
from insight.checkpoint import Checkpoint
from insight.engines.mxnet import MXNetEngine
from insight.errors import InsightError
from insight.graph import opening


@pytest.fixture(scope="module")
def network():
    return Checkpoint(*filled(mobile()))


@pytest.fixture(scope="module")
def spec(network, tmp_path_factory):
    prefix = tmp_path_factory.mktemp("model") / "a,b"  # a comma in the prefix is allowed
    checkpoint.save(str(prefix), 3, network)
    return f"{prefix},3"


def onnx_file(path, nodes, constants, shape, output=("batch", 4), input_name="data"):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    path.write_bytes(model.SerializeToString())
    return str(path)


def linear(path, batch, normalise=False):
    """(pixels - 127.5, optionally * 2) -> Flatten -> Gemm, and its weight."""
    weight = np.random.default_rng(0).normal(size=(4, 48)).astype(np.float32)
    nodes, constants, last = [], {"w": weight}, "data"
    if normalise:
        nodes += [helper.make_node("Sub", ["data", "mean"], ["s"]), helper.make_node("Mul", ["s", "two"], ["m"])]
        constants.update(mean=np.float32(127.5), two=np.float32(2))
        last = "m"
    nodes += [helper.make_node("Flatten", [last], ["f"]), helper.make_node("Gemm", ["f", "w"], ["out"], transB=1)]
    return onnx_file(path, nodes, constants, [batch, 3, 4, 4], [batch, 4]), weight


def pixels(count, size=112, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, size, size), np.uint8)


@pytest.mark.parametrize("graph", engines.GRAPHS)
def test_embeddings_are_those_of_plain_mxnet(network, spec, graph):
    engine = engines.load(spec, graph=graph)
    assert (engine.name, engine.image_size, engine.dimension) == ("mxnet", (112, 112), 6)
    assert graph in engine.describe()
    found = engine(images(5))
    assert found.dtype == np.float32
    assert far(evaluate(*network, images(5)), found) < 2e-5


@pytest.mark.parametrize("graph", engines.GRAPHS)
def test_a_pre_activation_network_too(graph):
    network = Checkpoint(*filled(residual()))
    assert far(evaluate(*network, images(5)), MXNetEngine(network, graph=graph)(images(5))) < 2e-5


@pytest.mark.parametrize("graph", engines.GRAPHS)
def test_an_open_network_is_not_cut_again_and_stays_whole(network, graph, monkeypatch):
    want = MXNetEngine(network, graph=graph)(images(5))
    opened = opening.open_network(network)
    names = sorted(opened.model.params)
    monkeypatch.setattr(opening, "cut", None)
    for _ in range(2):
        engine = MXNetEngine(opened, graph=graph)
        np.testing.assert_array_equal(engine(images(5)), want)
    assert sorted(opened.model.params) == names
    assert engine.image_size == opened.size


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 13])
def test_any_number_of_images(spec, count):
    engine = engines.load(spec, batch_size=8)
    x = pixels(13)
    assert far(engine(x)[:count], engine(x[:count])) < 1e-5 if count else engine(x[:0]).shape == (0, 6)


def test_few_graphs_are_planned(network):
    engine = MXNetEngine(network, batch_size=6)
    for count in range(1, 12):
        engine(pixels(count))
    assert sorted(engine._planned) == [1, 2, 4]


def test_bytes_and_floats_are_the_same_and_anything_else_is_an_error(spec):
    engine = engines.load(spec)
    assert (engine(pixels(3)) == engine(pixels(3).astype(np.float32))).all()
    for wrong in (pixels(2).astype(np.float64), pixels(2, 96), pixels(2)[0], pixels(2).transpose(0, 2, 3, 1)):
        with pytest.raises(InsightError, match=r"takes uint8 or float32 images \(N, 3, 112, 112\), got"):
            engine(wrong)


def test_an_engine_evaluates_inside_a_training_step(network):
    from insight._mxnet import mx

    engine = MXNetEngine(network, graph="plain")  # with batch norm, which trains differently
    outside = engine(pixels(3))
    with mx.autograd.record():
        assert (engine(pixels(3)) == outside).all()


def test_threads_may_share_an_engine(network, monkeypatch):
    engine = MXNetEngine(network)
    x = pixels(8)
    alone = engine(x)
    inside, plan = [], engine._plan

    def watched(count):
        run = plan(count)

        def one_at_a_time(*arrays):
            inside.append(1)
            time.sleep(0.01)
            assert len(inside) == 1
            inside.pop()
            return run(*arrays)

        engine._planned[count] = one_at_a_time
        return one_at_a_time

    monkeypatch.setattr(engine, "_plan", watched)
    engine._planned.clear()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: engine(x[i : i + 2]), range(0, 8, 2)))
    assert far(alone, np.concatenate(found)) < 1e-5


def test_models_that_do_not_open_are_errors(spec, tmp_path):
    with pytest.raises(InsightError, match=r"--model x.tflite: .*known: prefix,epoch .*; ncnn's .param; a .onnx file"):
        engines.load("x.tflite")
    with pytest.raises(InsightError, match="no such checkpoint; existing epochs: 3"):
        engines.load(spec[:-1] + "4")
    with pytest.raises(InsightError, match="x.onnx: no such file"):
        engines.load("x.onnx")
    with pytest.raises(InsightError, match="graph 'quick' is not known; known: fast, plain"):
        engines.load(spec, graph="quick")
    with pytest.raises(InsightError, match="must be at least 1"):
        engines.load(spec, batch_size=0)
    (tmp_path / "bad.onnx").write_bytes(b"no protobuf")
    with pytest.raises(InsightError, match="bad.onnx: ONNX Runtime does not load it"):
        engines.load(str(tmp_path / "bad.onnx"))


def test_a_checkpoint_without_embedding_is_named(tmp_path):
    from insight._mxnet import mx

    symbol = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2, name="scores")
    checkpoint.save(str(tmp_path / "m"), 0, Checkpoint(*filled(symbol)))
    with pytest.raises(InsightError, match=r"m,0: the graph has no layer 'fc1'.*candidates: scores"):
        engines.load(f"{tmp_path}/m,0")


@pytest.mark.parametrize(
    ("device", "parsed"), [(None, ("cpu", 0)), ("gpu", ("gpu", 0)), ("gpu:1", ("gpu", 1)), ("gpu(2)", ("gpu", 2))]
)
def test_devices_are_read(device, parsed):
    assert engines.parse_device(device) == parsed


def test_a_missing_device(spec, tmp_path):
    with pytest.raises(InsightError, match="want cpu, gpu"):
        engines.load(spec, device="tpu")
    with pytest.raises(InsightError, match=r"--device gpu:7: MXNet sees \d+ GPUs"):
        engines.load(spec, device="gpu:7")


ONNX_RUNTIMES = pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])


@ONNX_RUNTIMES
def test_onnx_with_normalisation_inside_gets_raw_pixels(tmp_path, runtime):
    path, weight = linear(tmp_path / "m.onnx", "batch", normalise=True)
    engine = engines.load(path, threads=1, engine=runtime)
    x = pixels(5, 4)
    assert (engine.image_size, engine.dimension, engine.normalises) == ((4, 4), 4, True)
    assert far((x.reshape(5, -1) - 127.5) * 2 @ weight.T, engine(x)) < 1e-6


@ONNX_RUNTIMES
def test_onnx_without_gets_what_insightface_feeds(tmp_path, runtime):
    path, weight = linear(tmp_path / "m.onnx", "batch")
    engine = engines.load(path, engine=runtime)
    x = pixels(5, 4)
    assert "outside" in engine.describe()
    assert far((x.reshape(5, -1) - 127.5) / 127.5 @ weight.T, engine(x)) < 1e-6


@ONNX_RUNTIMES
def test_onnx_with_a_fixed_batch_takes_any_number(tmp_path, runtime):
    path, weight = linear(tmp_path / "m.onnx", 4)
    x = pixels(7, 4)
    assert far((x.reshape(7, -1) - 127.5) / 127.5 @ weight.T, engines.load(path, engine=runtime)(x)) < 1e-6


@ONNX_RUNTIMES
def test_onnx_of_another_kind_is_an_error(tmp_path, runtime):
    nodes = [helper.make_node("Relu", ["data"], ["out"])]
    path = onnx_file(tmp_path / "m.onnx", nodes, {}, ["n", 112, 112, 3], ["n", 112, 112, 3])
    with pytest.raises(InsightError, match=r"this one takes data \('[n?]', 112, 112, 3\) and gives out"):
        engines.load(path, engine=runtime)


@ONNX_RUNTIMES
def test_without_the_runtime_the_error_has_the_remedy(tmp_path, monkeypatch, runtime):
    monkeypatch.setitem(sys.modules, runtime, None)
    path, _ = linear(tmp_path / "m.onnx", 1)
    with pytest.raises(InsightError, match=r"pip install -e '\.\[deploy\]'"):
        engines.load(path, engine=runtime)


def test_mxnet_takes_its_threads_when_it_starts(spec, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    engines.load(spec, threads=2)
    with pytest.raises(InsightError, match="threads 3: MXNet has started with 2; set OMP_NUM_THREADS before"):
        engines.load(spec, threads=3)
    code = f"import os, insight.engines as e; e.load({spec!r}, threads=3); print(os.environ['OMP_NUM_THREADS'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "3\n"


def test_an_onnx_file_needs_no_mxnet(tmp_path):
    path, _ = linear(tmp_path / "m.onnx", 1)
    load = f"engines.load({path!r}); engines.load({path!r}, engine='openvino')"
    code = f"import sys; from insight import engines; {load}; sys.exit('mxnet' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_real_network_runs_again_and_again(model_y1):
    spec = f"{model_y1[0]},{model_y1[1]}"
    plain, fast = (engines.load(spec, graph=graph) for graph in ("plain", "fast"))
    x = pixels(2)
    first = plain(x)
    for engine in (plain, fast) * 3:
        assert far(first, engine(x)) < 1e-5


def test_mxnets_fused_subgraph_cannot_get_in_the_way(model_y1):
    """With it, the second run of an executor fails on this checkpoint: !IsMKLDNNData()."""
    code = (
        "import numpy as np; from insight import engines\n"
        f"engine = engines.load('{model_y1[0]},{model_y1[1]}', graph='plain')\n"
        "x = np.full((1, 3, 112, 112), 99, np.uint8)\n"
        "assert [float(engine(x)[0, 0]) for _ in range(3)] == [float(engine(x)[0, 0])] * 3\n"
    )
    environment = {**os.environ, "MXNET_SUBGRAPH_BACKEND": "MKLDNN"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
