"""Sets of other images than 112x112: a run's own verification and everything behind it know their size."""

import json
from collections import namedtuple

import cv2
import numpy as np
import onnx
import pytest
from small_networks import evaluate, far

from insight import checkpoint, engines, nets
from insight._mxnet import mx
from insight.cli import run_command
from insight.errors import InsightError
from insight.face_embedding import FaceEmbedding
from insight.formats import evalbin
from insight.nets.layers import Convolution, PReLU, Style
from insight.nets.network import Network, halved, normalise_pixels
from insight.nets.outputs import Output
from insight.registry import normalise
from insight.train.loop import train
from insight.train.train_options import TrainOptions

SIZES = [(100, 100), (96, 80), (144, 144), (104, 111)]
NAME = "tiny-for-tests"


class Tiny(Network):
    """Three strided convolutions and the E output: steps of milliseconds."""

    def __init__(self, embedding_size=0, *common, **options):
        super().__init__(embedding_size, *common, **options)
        style = Style(self.prelu, self.momentum)
        self.body = [Convolution(f"conv{i}", *channels, 3, 2, 1) for i, channels in enumerate(((3, 4), (4, 4), (4, 4)))]
        for layer in self.body:
            self.register_child(layer)
        self.act = PReLU("relu", 4, self.prelu)
        self.output = Output("E", 4, halved(self.image_size, 3), self.embedding_size, style)

    def hybrid_forward(self, F, x):
        x = normalise_pixels(x)
        for layer in self.body:
            x = layer(x)
        return self.output(self.act(x))


@pytest.fixture(scope="module", autouse=True)
def network():
    assert NAME not in nets.networks
    nets.networks.register(NAME)(Tiny)
    yield
    nets.networks._entries.pop(normalise(NAME))
    nets.networks._primary.remove(normalise(NAME))


def face(identity, draw, size):
    height, width = size
    rows = np.sin(np.arange(height) * (identity + 1) / 9)[:, None, None] * 80 + 128
    pixels = np.clip(rows + draw.normal(0, 25, (height, width, 3)), 0, 255).astype(np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def make_set(folder, size):
    """Three identities, four images each, and a verification set ``val``."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    record = mx.recordio.MXIndexedRecordIO(str(folder / "train.idx"), str(folder / "train.rec"), "w")
    for key in range(12):
        header = mx.recordio.IRHeader(0, float(key % 3), key, 0)
        record.write_idx(key, mx.recordio.pack(header, face(key % 3, draw, size)))
    record.close()
    (folder / "property").write_text(f"3,{size[0]},{size[1]}\n")
    images = [face(i, draw, size) for i in (0, 0, 0, 1, 1, 1, 1, 2)]
    evalbin.write_bin(folder / "val.bin", images, np.array([True, False] * 2))


def options(folder, prefix, **more):
    base = {"network": NAME, "emb_size": 8, "per_batch_size": 4, "max_steps": 1, "target": "val", "devices": "cpu"}
    return TrainOptions(data_dir=str(folder), prefix=str(prefix), **{**base, **more})


@pytest.fixture(scope="module", params=SIZES, ids=lambda size: "{}x{}".format(*size))
def trained(request, tmp_path_factory):
    """(size, folder): the set in ``set``, one step with its .bin under ``a/m``, and one without under ``b/m``."""
    folder = tmp_path_factory.mktemp("size")
    make_set(folder / "set", request.param)
    for name, target in (("a", "val"), ("b", "")):
        train(options(folder / "set", folder / name / "m", target=target))
    return request.param, folder


def written_rows(prefix, kind):
    return [row for row in map(json.loads, open(f"{prefix}-log.jsonl")) if row["kind"] == kind]


def test_it_is_verified_while_it_trains(trained):
    _, folder = trained
    assert [row["step"] for row in written_rows(folder / "a/m", "verification")] == [0, 1]
    assert written_rows(folder / "b/m", "verification") == []


@pytest.mark.parametrize("name", ["a", "b"])
def test_the_symbol_states_it_in_mxnets_layout(trained, name):
    """A single attribute is on the line of its brace, as line-based converters expect it."""
    (height, width), folder = trained
    lines = checkpoint.symbol_path(str(folder / name / "m")).read_text().split("\n")
    assert [line.rstrip() for line in lines[:8]] == [
        "{",
        '  "nodes": [',
        "    {",
        '      "op": "null",',
        '      "name": "data",',
        f'      "attrs": {{"__shape__": "(0, 3, {height}, {width})"}},',
        '      "inputs": []',
        "    },",
    ]
    nodes = json.loads("".join(lines))["nodes"]
    assert {n["name"] for n in nodes if n["op"] == "null" and "attrs" in n} == {"data", "fc7_weight"}


def test_plain_mxnet_takes_any_batch(trained):
    size, folder = trained
    symbol, args, aux = mx.model.load_checkpoint(str(folder / "b/m"), 1)
    embedding = symbol.get_internals()["fc1_output"]
    module = mx.mod.Module(embedding, label_names=None, context=mx.cpu())
    module.bind([("data", (5, 3, *size))], for_training=False)
    module.set_params(args, aux, allow_extra=True)
    batch = namedtuple("Batch", ["data"])
    x = np.random.default_rng(0).uniform(0, 255, (5, 3, *size)).astype(np.float32)
    module.forward(batch([mx.nd.array(x)]), is_train=False)
    five = module.get_outputs()[0].asnumpy()
    module.reshape([("data", (2, 3, *size))])
    module.forward(batch([mx.nd.array(x[:2])]), is_train=False)
    np.testing.assert_allclose(module.get_outputs()[0].asnumpy(), five[:2], rtol=1e-4, atol=1e-6)
    assert symbol.infer_shape(data=(3, 3, *size))[1] == [(3, 8), (3, 3)]
    assert far(five, engines.load(f"{folder}/b/m,1")(x)) < 1e-5


@pytest.mark.parametrize("name", ["a", "b"])
def test_every_tool_knows_it(trained, name, tmp_path, capsys):
    size, folder = trained
    spec = f"{folder}/{name}/m,1"
    common = ["--model", spec]
    assert run_command("verification", [*common, "--data-dir", str(folder / "set"), "--target", "val"]) == 0
    assert run_command("embed", [*common, "--input", f"{folder}/set/train.rec", "--output", f"{tmp_path}/e.npz"]) == 0
    assert run_command("dataset-clean", [f"{folder}/set", *common, "--dry-run"]) == 0
    assert run_command("model-slim", [*common, "--output", f"{tmp_path}/s"]) == 0
    assert run_command("model-slim", [*common, "--output", f"{tmp_path}/f", "--fold-bn"]) == 0
    assert "note: " not in "".join(capsys.readouterr())
    for slimmed in ("s", "f"):
        held = checkpoint.load(f"{tmp_path}/{slimmed}", 0)
        assert held.symbol.get_internals()["data"].attr("__shape__") == str((0, 3, *size))
    images = np.random.default_rng(0).integers(0, 256, (2, size[0], size[1], 3), np.uint8)
    faces = FaceEmbedding(spec)
    assert (faces.image_size, faces.notes) == (size, [])
    assert faces.embed_many(images).shape == (2, 8)


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_exports_take_it_alone(trained, suffix, tmp_path, capsys):
    size, folder = trained
    path = tmp_path / f"m{suffix}"
    assert run_command("export-onnx", ["--model", f"{folder}/b/m,1", "--output", str(path)]) == 0
    assert f"input {size[0]}x{size[1]}" in capsys.readouterr().out
    if suffix == ".onnx":
        lengths = onnx.load(str(path)).graph.input[0].type.tensor_type.shape.dim
        assert [d.dim_param or d.dim_value for d in lengths] == ["batch", 3, *size]
    engine = engines.load(str(path), threads=1)
    assert (engine.image_size, engine.notes) == (size, [])
    symbol, args, aux = mx.model.load_checkpoint(str(folder / "b/m"), 1)
    embedding = symbol.get_internals()["fc1_output"]
    used = {name: array for name, array in args.items() if name in embedding.list_arguments()}
    x = np.random.default_rng(0).uniform(0, 255, (3, 3, *size)).astype(np.float32)
    assert far(evaluate(embedding, used, aux, x), engine(x)) < 2e-5


def test_a_verification_set_of_another_size_is_refused_before_anything_is_written(tmp_path):
    make_set(tmp_path / "set", (96, 80))
    make_set(tmp_path / "other", (112, 112))
    (tmp_path / "set/val.bin").write_bytes((tmp_path / "other/val.bin").read_bytes())
    with pytest.raises(
        InsightError,
        match=r"set/val.bin: its images are 112x112 \(height x width\), those of .*set/train.rec 96x80, and a network "
        r"takes one size; to scale them: insight rec2image .*set/val.bin DIR, then insight make-bin DIR/pairs.csv "
        r"NEW.bin --image-size 96,80; or leave val out of --target",
    ):
        train(options(tmp_path / "set", tmp_path / "new/m"))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("text", ["96,80", "96, 80", "96x80"])
def test_the_option_may_be_spelled_as_elsewhere(text, tmp_path):
    make_set(tmp_path / "set", (96, 80))
    train(options(tmp_path / "set", tmp_path / "m", target="", ckpt=0, image_size=text))
    for wrong in ("80,96", "96", "96,80,3", "wide"):
        with pytest.raises(InsightError, match=f"--image-size {wrong}: .*train.rec holds images of 96,80; leave the"):
            train(options(tmp_path / "set", tmp_path / "n", target="", image_size=wrong))


def test_a_stage_says_what_is_other_in_the_one_before(tmp_path, capfd):
    for name, size in (("first", (100, 100)), ("second", (144, 144))):
        make_set(tmp_path / name, size)
    train(options(tmp_path / "first", tmp_path / "a/m", target=""))
    capfd.readouterr()
    pretrained = f"{tmp_path}/a/m,1"
    train(options(tmp_path / "second", tmp_path / "b/m", target="", emb_size=16, pretrained=pretrained))
    out = capfd.readouterr().out
    assert f"loaded {pretrained}; left fresh: fc1_beta, fc1_gamma, " in out
    assert (
        f"note: {pretrained} has arrays of another shape: fc1_beta (8,) there, (16,) here; fc1_gamma (8,) there, (16,) "
        "here; fc1_moving_mean (8,) there, (16,) here; fc1_moving_var (8,) there, (16,) here; and 3 more\n"
    ) in out
    assert f"note: {pretrained} was trained on 100x100 images, this set has 144x144 (height x width)\n" in out
    train(options(tmp_path / "first", tmp_path / "c/m", target="", pretrained=pretrained))
    out = capfd.readouterr().out
    assert f"loaded {pretrained}; left fresh: nothing\n" in out
    assert "note: " + pretrained not in out
    for damage in (lambda path: path.write_text("{"), lambda path: path.unlink()):  # only the arrays are needed
        damage(tmp_path / "a/m-symbol.json")
        train(options(tmp_path / "second", tmp_path / "d/m", target="", pretrained=pretrained))
        assert "was trained on" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("size", "emb_size", "says"),
    [((144, 144), 8, "a network for 100x100 images, and this one takes 144x144"), ((100, 100), 16, "another network")],
)
def test_a_prefix_keeps_the_symbol_that_its_checkpoints_need(size, emb_size, says, tmp_path):
    make_set(tmp_path / "first", (100, 100))
    make_set(tmp_path / "second", size)
    train(options(tmp_path / "first", tmp_path / "m", target=""))
    before = {path.name: path.read_bytes() for path in tmp_path.glob("m*") if path.is_file()}
    with pytest.raises(InsightError, match=rf"--prefix .*/m: .*m-symbol.json describes {says}.*\(1\) need it; give an"):
        train(options(tmp_path / "second", tmp_path / "m", target="", emb_size=emb_size))
    assert {path.name: path.read_bytes() for path in tmp_path.glob("m*") if path.is_file()} == before
    train(options(tmp_path / "first", tmp_path / "m", target="", seed=3))
    assert checkpoint.epochs(str(tmp_path / "m")) == [1, 2]
