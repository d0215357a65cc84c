"""ONNX files: equal to MXNet for each operator, and readable by the usual programs without changes."""

import cv2
import numpy as np
import onnx
import pytest
from small_networks import S, evaluate, far, filled, images, mobile, pixels, residual, training
from whole_networks import write_log

from insight import __version__, checkpoint, engines
from insight.checkpoint import Checkpoint
from insight.cli import run_command
from insight.engines.onnxruntime import OnnxRuntimeEngine
from insight.errors import InsightError
from insight.export import parity
from insight.export.onnx import export_onnx
from insight.graph import cut
from insight.graph.nodes import GraphModel
from insight.graph.onnx_input import is_routed_to_arcface
from insight.graph.onnx_model import to_onnx
from insight.runs import lineage

NETWORKS = {"mobile": mobile, "residual": residual, "training": lambda: training(mobile())}


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request, tmp_path_factory):
    """(the checkpoint, its spec, folder with plain.onnx and fast.onnx)."""
    labels = {"softmax_label": (1,)} if request.param == "training" else {}
    stored = Checkpoint(*filled(NETWORKS[request.param](), **labels))
    folder = tmp_path_factory.mktemp(request.param)
    checkpoint.save(str(folder / "net"), 7, stored)
    for graph in engines.GRAPHS:
        export_onnx(f"{folder}/net,7", str(folder / f"{graph}.onnx"), graph, count=4)
    return stored, f"{folder}/net,7", folder


def reference(stored, x):
    symbol = stored.symbol.get_internals()["fc1_output"]
    names = set(symbol.list_inputs())
    return evaluate(symbol, {k: v for k, v in stored.arg_params.items() if k in names}, stored.aux_params, x)


@pytest.mark.parametrize("graph", engines.GRAPHS)
@pytest.mark.parametrize("count", [1, 3, 64])
def test_onnx_runtime_and_opencv_embed_as_mxnet(exported, graph, count):
    stored, _, folder = exported
    x = images(count)
    want = reference(stored, x)
    assert far(want, engines.load(str(folder / f"{graph}.onnx"), batch_size=64)(x)) < 2e-5
    network = cv2.dnn.readNetFromONNX(str(folder / f"{graph}.onnx"))
    network.setInput(x)
    assert far(want, network.forward()) < 2e-5


@pytest.mark.parametrize("graph", engines.GRAPHS)
def test_the_file_is_what_readers_expect(exported, graph):
    _, _, folder = exported
    model = onnx.load(str(folder / f"{graph}.onnx"))
    assert (model.ir_version, model.opset_import[0].version) == (7, 13)
    assert [value.name for value in model.graph.input] == ["data"]
    assert [value.name for value in model.graph.output] == ["fc1"]
    shape = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert shape == ["batch", 3, 112, 112]
    assert not {"Shape", "Reshape", "Dropout", "Identity"} & {node.op_type for node in model.graph.node}
    assert {p.key: p.value for p in model.metadata_props} == {
        "color_order": "RGB",
        "input_layout": "NCHW",
        "input_size": "112,112",
        "input_range": "0..255",
        "normalisation": "inside",
        "embedding": "6, not normalised",
        "graph": graph,
        "source": "net,7",
        "insight_version": __version__,
    }
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    used = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= used


def insightface_mean_and_std(path):
    """The rule of ArcFaceONNX in the pip package insightface, by the names of the first nodes."""
    first = [node.name for node in onnx.load(path).graph.node[:8]]
    minus = any(name.startswith(("Sub", "_minus")) for name in first)
    times = any(name.startswith(("Mul", "_mul")) for name in first)
    return (0.0, 1.0) if minus and times else (127.5, 127.5)


@pytest.mark.parametrize("graph", engines.GRAPHS)
def test_insightface_feeds_raw_pixels(exported, graph):
    assert insightface_mean_and_std(str(exported[2] / f"{graph}.onnx")) == (0.0, 1.0)


@pytest.mark.parametrize(
    "first",
    [
        lambda x: x,
        lambda x: S.BatchNorm(x, fix_gamma=True, eps=2e-5, name="bn_data"),
        lambda x: (x + 1) / 128,
        lambda x: x - 127.5,
        lambda x: x * 0.0078125,
    ],
)
def test_insightface_feeds_raw_pixels_to_networks_without_the_usual_normalisation(first, tmp_path):
    stored = filled(S.FullyConnected(first(S.Variable("data")), num_hidden=4, name="fc1"))
    (tmp_path / "m.onnx").write_bytes(to_onnx(cut.cut(GraphModel.from_mxnet(*stored))).SerializeToString())
    assert insightface_mean_and_std(str(tmp_path / "m.onnx")) == (0.0, 1.0)
    engine = engines.load(str(tmp_path / "m.onnx"))
    assert engine.normalises
    assert far(evaluate(*stored, images()), engine(images())) < 2e-5


def pooled(**options):
    return lambda x: S.Pooling(x, **{"kernel": (3, 3), **options})


OPERATORS = {
    "conv bias, stride, dilate, groups": lambda x: S.Convolution(
        x, num_filter=6, kernel=(3, 2), stride=(2, 1), dilate=(1, 2), pad=(2, 1), num_group=3, name="c"
    ),
    "leaky": lambda x: S.LeakyReLU(x, act_type="leaky", slope=0.1),
    "leaky, slope by default": lambda x: S.LeakyReLU(x),
    "elu": lambda x: S.LeakyReLU(x, act_type="elu", slope=0.3),
    "relu": lambda x: S.Activation(x, act_type="relu"),
    "sigmoid": lambda x: S.Activation(x, act_type="sigmoid"),
    "tanh": lambda x: S.tanh(x),
    "softrelu": lambda x: S.Activation(x, act_type="softrelu"),
    "clip": lambda x: S.clip(x, a_min=-0.2, a_max=0.6),
    "scalars": lambda x: ((3 - x) * 2 + 1.5) / 4 - 0.5,
    "a number over": lambda x: 1 / (x + 3),
    "sum of three": lambda x: S.add_n(x, x * 2, S.relu(x)),
    "elementwise": lambda x: (x * S.relu(x) - x) / (S.relu(x) + 1) + x,
    "broadcast": lambda x: S.broadcast_mul(x, S.Pooling(x, kernel=(1, 1), global_pool=True, pool_type="avg")),
    "concat": lambda x: S.Concat(x, S.relu(x), x, dim=1),
    "reshape": lambda x: S.reshape(x, (0, 1, -1, 14)),
    "slice": lambda x: S.slice_axis(x, axis=1, begin=1, end=None),
    "slice from behind": lambda x: S.slice_axis(x, axis=2, begin=-9, end=-2),
    "max pool": pooled(stride=(2, 2), pad=(1, 1), pool_type="max"),
    "max pool, stride by default": pooled(pool_type="max"),
    "max pool, full": pooled(stride=(2, 2), pool_type="max", pooling_convention="full"),
    "average pool, full": pooled(stride=(2, 2), pool_type="avg", pooling_convention="full"),
    "average pool, full, padding not counted": pooled(
        stride=(2, 2), pad=(1, 1), pool_type="avg", pooling_convention="full", count_include_pad=False
    ),
    "average pool, full, of a length that needs no more": pooled(
        kernel=(2, 2), stride=(2, 2), pool_type="avg", pooling_convention="full"
    ),
    "average pool": pooled(stride=(2, 2), pad=(1, 1), pool_type="avg"),
    "average pool without padding": pooled(stride=(2, 2), pad=(1, 1), pool_type="avg", count_include_pad=False),
    "global max pool": pooled(global_pool=True, pool_type="max"),
    "batch norm, all by default": lambda x: S.BatchNorm(x, name="bn"),
    "batch norms that share a gamma, fixed in one": lambda x: (
        lambda g: S.BatchNorm(S.BatchNorm(x, gamma=g, fix_gamma=False, name="a"), gamma=g, name="b")
    )(S.Variable("shared_gamma")),
    "prelu behind flatten": lambda x: S.LeakyReLU(S.Flatten(x), act_type="prelu", name="flat_relu"),
    "norms of pixels": lambda x: S.broadcast_div(S.mean(S.sqrt(S.sum(x * x, axis=1, keepdims=True))), x + 2),
    "mean over two axes": lambda x: S.mean(x, axis=(2, 3)),
    "sum over all": lambda x: S.broadcast_mul(x, S.sum(x)),
    "tile": lambda x: S.tile(S.sum(x, axis=1, keepdims=True), reps=(1, 4, 1, 2)),
    "copies": lambda x: S.BlockGrad(S.identity(S.Dropout(x))),
    "fc without bias": lambda x: S.FullyConnected(x, num_hidden=5, no_bias=True, name="fc0"),
    "fc that does not flatten": lambda x: S.FullyConnected(S.Flatten(x), num_hidden=5, flatten=False, name="fc0"),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_each_operator(name, tmp_path):
    x = S.Pooling(pixels(S.Variable("data")), kernel=(8, 8), stride=(8, 8), pool_type="max")  # 14 x 14
    stored = filled(S.FullyConnected(OPERATORS[name](x), num_hidden=4, name="fc1"))
    (tmp_path / "m.onnx").write_bytes(to_onnx(cut.cut(GraphModel.from_mxnet(*stored))).SerializeToString())
    assert far(evaluate(*stored, images()), engines.load(str(tmp_path / "m.onnx"))(images())) < 2e-5


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda x: S.sin(x, name="wave"), "operator sin at node 'wave' has no ONNX translation; known: Activation, "),
        (lambda x: S.LeakyReLU(x, act_type="gelu", name="g"), "LeakyReLU at node 'g': act_type=gelu"),
        (lambda x: S.Pooling(x, kernel=(2, 2), pool_type="sum", name="p"), "Pooling at node 'p': pool_type=sum"),
        (
            lambda x: S.Pooling(x, kernel=(3, 3), pad=(1, 1), pool_type="avg", pooling_convention="full", name="p"),
            "Pooling at node 'p': an average with pooling_convention=full over padding that counts",
        ),
        (lambda x: S.BatchNorm(x, axis=2, name="b"), "BatchNorm at node 'b': axis=2"),
        (lambda x: S.reshape(x, (0, -2), name="r"), r"Reshape at node 'r': shape=\(0, -2\)"),
        (lambda x: S.sum(x, axis=1, exclude=True, name="r"), "sum at node 'r': exclude=True"),
        (lambda x: S.SliceChannel(x, num_outputs=3, name="s")[1], "operator SliceChannel at node 's'"),
    ],
)
def test_an_operator_without_translation_is_named(body, message):
    stored = filled(S.FullyConnected(body(S.Variable("data")), num_hidden=4, name="fc1"))
    with pytest.raises(InsightError, match=message):
        to_onnx(cut.cut(GraphModel.from_mxnet(*stored)))


def test_a_file_is_the_same_bytes_twice(exported, tmp_path):
    _, spec, folder = exported
    export_onnx(spec, str(tmp_path / "again.onnx"), count=1)
    assert (tmp_path / "again.onnx").read_bytes() == (folder / "plain.onnx").read_bytes()


def test_the_command(exported, tmp_path, capsys):
    _, spec, _ = exported
    output = tmp_path / "new/m.onnx"
    arguments = ["--model", spec, "--output", str(output), "--graph", "fast", "--num-faces", "2"]
    assert run_command("export-onnx", arguments) == 0
    printed = capsys.readouterr().out
    assert "fast graph" in printed
    assert "over 2 faces" in printed
    assert run_command("export-onnx", arguments) == 2
    assert "already exists; give another --output, or --overwrite" in capsys.readouterr().err
    assert run_command("export-onnx", [*arguments, "--overwrite"]) == 0


def test_the_command_compares_with_given_faces(exported, tmp_path, capsys):
    _, spec, _ = exported
    (tmp_path / "faces/a").mkdir(parents=True)
    for i in range(5):
        cv2.imwrite(str(tmp_path / f"faces/a/{i}.png"), np.full((112, 112, 3), i * 50, np.uint8))
    arguments = ["--model", spec, "--output", str(tmp_path / "m.onnx"), "--faces", str(tmp_path / "faces")]
    assert run_command("export-onnx", arguments) == 0
    assert "over 5 faces" in capsys.readouterr().out


def test_more_faces_than_memory_holds_is_an_error_of_one_line(exported, tmp_path, capsys):
    arguments = ["--model", exported[1], "--output", str(tmp_path / "m.onnx"), "--num-faces", str(10**12)]
    assert run_command("export-onnx", arguments) == 2
    assert f"--num-faces {10**12}: do not fit in memory" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["m.onnx", "m.xml"])
def test_of_two_concurrent_runs_the_first_to_end_wins(exported, tmp_path, name):
    def faces(count, size):
        (tmp_path / name).write_text("of the other run")
        return parity.random_faces(count, size)

    with pytest.raises(InsightError, match=f"{name}: already exists"):
        export_onnx(exported[1], str(tmp_path / name), faces=faces, count=1)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "of the other run")]


def test_below_the_bound_there_is_no_file(exported, tmp_path, capsys):
    _, spec, _ = exported
    arguments = ["--model", spec, "--output", str(tmp_path / "m.onnx"), "--bound", "1.5", "--num-faces", "2"]
    assert run_command("export-onnx", arguments) == 1
    assert "its embeddings differ from MXNet's" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("graph", engines.GRAPHS)
def test_a_file_that_is_damaged_before_the_gate_is_not_kept(exported, tmp_path, monkeypatch, capsys, graph):
    """A parameter of the written file is changed before ONNX Runtime reads it."""
    from insight.export import written

    def nudged(path):
        model = onnx.load(path)
        tensor = next(t for t in model.graph.initializer if t.name == "pre_fc1_weight")
        weight = onnx.numpy_helper.to_array(tensor) + 0.02 * np.arange(6, dtype=np.float32)[:, None]
        tensor.CopyFrom(onnx.numpy_helper.from_array(weight, tensor.name))
        onnx.save(model, path)
        return OnnxRuntimeEngine(path)

    monkeypatch.setattr(written, "OnnxRuntimeEngine", nudged)
    arguments = ["--model", exported[1], "--output", str(tmp_path / "m.onnx"), "--graph", graph]
    assert run_command("export-onnx", arguments) == 1
    assert "its embeddings differ from MXNet's" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_file_records_how_the_network_was_trained(exported, tmp_path, capsys):
    stored, _, _ = exported
    write_log(tmp_path / "run/net", 3, loss_type="5", margin_s=64.0, margin_m=0.3, margin_a=1.0, margin_b=0.2)
    checkpoint.save(f"{tmp_path}/run/net", 3, stored)
    arguments = ["--model", f"{tmp_path}/run/net,3", "--output", str(tmp_path / "m.onnx"), "--num-faces", "1"]
    assert run_command("export-onnx", arguments) == 0
    assert "lineage: 1 training stage, in the metadata" in capsys.readouterr().out
    metadata = {p.key: p.value for p in onnx.load(str(tmp_path / "m.onnx")).metadata_props}
    assert metadata["data_set"] == "4a66f49f"
    assert metadata["network"] == "y1"
    assert metadata["loss"] == "combined s=64 a=1 m=0.3 b=0.2"
    (stage,) = lineage.from_metadata(metadata)
    assert (stage.name, stage.steps, stage.options["data_dir"]) == ("run/net", 70, "faces")


def test_an_unknown_loss_keeps_its_name():
    from insight.export.source import loss

    assert loss({"loss_type": "99"}) == "99"
    assert loss({"loss_type": "4", "margin_m": 7.0}) == "4"


def test_a_loss_whose_options_were_not_all_recorded_has_their_defaults():
    from insight.export.source import loss

    assert loss({"loss_type": "4", "margin_s": 32.0, "margin_m": None}) == "arcface s=32 m=0.5"
    assert loss({"loss_type": "magface", "emb_size": 512}).startswith("magface s=64 l_a=10.1823 u_a=49.7803 ")


@pytest.mark.parametrize(("size", "line"), [(128, "drop-in: insightface"), (96, "get_model opens no 96x96 networks")])
def test_only_sizes_that_insightface_opens_are_called_a_drop_in(size, line, tmp_path, capsys):
    checkpoint.save(str(tmp_path / "net"), 0, Checkpoint(*filled(residual(), size=size)))
    arguments = ["--model", f"{tmp_path}/net,0", "--output", str(tmp_path / "m.onnx"), "--num-faces", "1"]
    assert run_command("export-onnx", arguments) == 0
    assert line in capsys.readouterr().out


@pytest.mark.parametrize(
    ("size", "taken"),
    [((112, 112), 1), ((160, 160), 1), ((112, 96), 0), ((96, 96), 0), ((120, 120), 0), ((192, 192), 0), ((64, 64), 0)],
)
def test_the_route_of_insightface(size, taken):
    assert is_routed_to_arcface(size) == bool(taken)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--output": "m.params"}, "m.params: must end in .onnx, or in .xml"),
        ({"--num-faces": "0"}, "--num-faces 0: must be at least 1"),
        ({"--num-faces": "-3"}, "--num-faces -3: must be at least 1"),
    ],
)
def test_options_that_make_no_sense(exported, tmp_path, monkeypatch, capsys, changes, message):
    monkeypatch.chdir(tmp_path)
    options = {"--model": exported[1], "--output": "m.onnx", **changes}
    assert run_command("export-onnx", [word for pair in options.items() for word in pair]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_projected_shortcut_is_a_sum_and_others_are_added(exported, request):
    """See onnx_ops.elementwise; test_shipped checks on r50 that cv2.dnn then takes any batch."""
    _, _, folder = exported
    kinds = [[node.op_type for node in onnx.load(str(folder / f"{g}.onnx")).graph.node] for g in ("plain", "fast")]
    projected = "residual" in request.node.name
    assert [ops.count("Sum") for ops in kinds] == [int(projected), 0]
    assert all("Add" in ops for ops in kinds)
