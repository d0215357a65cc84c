"""--image-size of every command that opens a model, for files that do not state it, and only for them; --device."""

import importlib.util
import json
import os
import re

import cv2
import numpy as np
import pytest
from onnx import TensorProto, helper, load, numpy_helper
from small_networks import S, evaluate, far, filled, residual

from insight import checkpoint, cli, engines
from insight.checkpoint import Checkpoint
from insight.cli import run_command
from insight.errors import InsightError
from insight.export.parity import random_faces
from insight.face_embedding import FaceEmbedding
from insight.formats import evalbin
from insight.speed import compare, worker
from insight.speed.plain import PlainMXNet

SIZE = (144, 144)  # not a usual one
NEEDS_PNNX = pytest.mark.skipif(importlib.util.find_spec("pnnx") is None, reason="pnnx, which converts, is missing")


def square(draw):
    return cv2.imencode(".png", draw.integers(0, 256, (*SIZE, 3), np.uint8))[1].tobytes()


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """``foreign/m,1``, which states no size, ``ours/m,1``, which does, and faces of their size."""
    folder = tmp_path_factory.mktemp("work")
    symbol, *arrays = filled(residual(), size=SIZE[0])
    checkpoint.save(f"{folder}/foreign/m", 1, Checkpoint(symbol, *arrays))
    path = folder / "ours/m-symbol.json"
    checkpoint.save(f"{folder}/ours/m", 1, Checkpoint(symbol, *arrays))
    head = '"name": "data", \n      '
    text = path.read_text()
    assert text.count(head) == 1
    path.write_text(text.replace(head, f'{head}"attrs": {{"__shape__": "{(0, 3, *SIZE)}"}}, \n      '))
    draw = np.random.default_rng(0)
    evalbin.write_bin(folder / "sets/val.bin", [square(draw) for _ in range(8)], [True, False] * 2)
    for name in ("gallery", "probes"):
        for who in "ab":
            (folder / name / who).mkdir(parents=True)
            for i in range(2):
                (folder / name / who / f"{i}.png").write_bytes(square(draw))
    assert run_command("dir2lst", [f"{folder}/gallery", f"{folder}/g.lst"]) == 0
    assert run_command("face2rec", [f"{folder}/g.lst", "--output", f"{folder}/set", "--image-size", "144"]) == 0
    return folder


COMMANDS = {
    "verification": "--data-dir {w}/sets --target val --bootstrap 0",
    "embed": "--input {w}/sets/val.bin --output {t}/e.npz",
    "identification": "--gallery {w}/gallery --probes {w}/probes",
    "report": "--data-dir {w}/sets --target val --bootstrap 0 --output {t}/r.html",
    "benchmark": "--batch 1 --threads 1 --rounds 1 --seconds 0.01 --engine mxnet",
    "export-onnx": "--output {t}/m.onnx --num-faces 2",
    "export-onnx int8": "--output {t}/m.onnx --int8 --calibrate {w}/gallery --num-calibrate 2 --num-faces 1 --bound -1 "
    "--target-bin {w}/sets/val.bin",
    "export-ncnn": "--output {t}/n --num-faces 2",
    "model-slim": "--output {t}/s --num-faces 2",
    "dataset-merge": "--include {w}/set --exclude {w}/sets/val.bin --dry-run",
    "dataset-clean": "{w}/set --dry-run",
    "megaface": "--facescrub-root {w}/gallery --megaface-root {w}/probes --sizes 2 --embeddings {t}/e",
}


def run(command, work, folder, model, *more):
    name = command.split()[0]
    words = COMMANDS[command].format(w=work, t=folder).split()
    return run_command(name, [*words, "--model", f"{work}/{model}", *more])


def test_no_command_is_left_out():
    opens = set()
    for name in cli.command_names():
        options = {o for action in cli.build_parser(name)._actions for o in action.option_strings}
        assert "--model" not in options or "--image-size" in options, name
        opens |= {name} if "--model" in options else set()
    # the --image-size of align-faces is that of its crops; ijb aligns to 112x112 or 112x96
    assert opens - {"align-faces", "ijb"} == {command.split()[0] for command in COMMANDS}


def test_the_benchmark_hands_it_to_its_workers(work, monkeypatch, capsys):
    """They run in processes of their own, which is slow: here in this one."""

    def child(job, threads):
        worker.main(json.loads(json.dumps(job)))
        facts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return facts, next((fact["error"] for fact in facts if "error" in fact), "")

    monkeypatch.setattr(compare, "_child", child)
    monkeypatch.setattr(compare.parity, "COUNT", 2)
    threads = int(os.environ["OMP_NUM_THREADS"])  # with which MXNet has started
    given = ([f"{work}/foreign/m,1"], [threads], [1], None, ["mxnet", "onnxruntime"], 1, 1e-4)
    with pytest.raises(InsightError, match="foreign/m,1: states no image size"):
        compare.benchmark(*given)
    report = compare.benchmark(*given, SIZE)
    assert [line.note for line in report.lines] == [""] * 4
    assert list(report.notes) == []
    with pytest.raises(InsightError, match="foreign/m,1: states no image size"):
        PlainMXNet(f"{work}/foreign/m,1", 1)
    assert PlainMXNet(f"{work}/foreign/m,1", 1, SIZE).image_size == SIZE


def test_the_benchmark_says_once_what_was_assumed(monkeypatch):
    facts = [{"notes": ["states no image size; …"]}, {"image_size": [8, 8]}, {"batch": 1, "seconds": [0.1]}]
    monkeypatch.setattr(compare, "_child", lambda job, threads: np.save(job["keep"], np.eye(2)) or (facts, ""))
    report = compare.benchmark(["a/m,1", "b/m,1"], [1], [1], None, ["mxnet"], 1, 1e-4)
    assert report.notes == ["a/m,1: states no image size; …", "b/m,1: states no image size; …"]


OTHERS = [name for name in COMMANDS if name != "benchmark"]


@pytest.mark.parametrize(
    "command", [pytest.param(name, marks=NEEDS_PNNX if name == "export-ncnn" else ()) for name in OTHERS]
)
def test_a_file_that_is_silent_needs_it(command, work, tmp_path, capfd):
    """One line without; with it the command does what it does for a file that states it."""
    assert run(command, work, tmp_path, "foreign/m,1") == 2
    err = capfd.readouterr().err
    assert re.search(
        r"^error: \S*foreign/m,1: states no image size, and its arrays fit several: 137..144 x 137..144 \(height x "
        r"width\); none of them is a usual one. Give the size that it was trained on: --image-size H,W\n\Z",
        err,
        re.MULTILINE,
    ), err
    assert list(tmp_path.iterdir()) == []
    assert run(command, work, tmp_path, "foreign/m,1", "--image-size", "144,144") == 0
    assert "assumed" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("command", ["verification", "model-slim", "dataset-clean"])
def test_a_wrong_one_is_a_line(command, work, tmp_path, capsys):
    assert run(command, work, tmp_path, "foreign/m,1", "--image-size", "112") == 2
    err = capsys.readouterr().err
    assert re.search(r"foreign/m,1: --image-size 112x112: .*pre_fc1.*; sizes that fit: 137..144 x 137..144\n\Z", err)
    assert run(command, work, tmp_path, "ours/m,1", "--image-size", "140,144") == 2
    assert capsys.readouterr().err.endswith(
        "ours/m,1: --image-size 140x144: the network states 144x144; leave the option out\n"
    )
    for text in ("0,112", "-5", "112,112,3", "wide"):
        assert run(command, work, tmp_path, "ours/m,1", f"--image-size={text}") == 2
        assert "argument --image-size" in capsys.readouterr().err


def test_without_a_model_it_means_nothing(work, tmp_path, capsys):
    merge = ["--include", f"{work}/set", "--param1", "0", "--dry-run", "--image-size", "144"]
    assert run_command("dataset-merge", merge) == 2
    assert "--image-size: applies to --model only; add --model" in capsys.readouterr().err
    for name in ("gallery", "probes"):
        words = ["--model", f"{work}/ours/m,1", "--input", f"{work}/{name}", "--output", f"{tmp_path}/{name}.npz"]
        assert run_command("embed", words) == 0
    files = ["--gallery", f"{tmp_path}/gallery.npz", "--probes", f"{tmp_path}/probes.npz"]
    assert run_command("identification", files) == 0
    capsys.readouterr()
    assert run_command("identification", [*files, "--image-size", "144"]) == 2
    assert "--image-size: applies to images only, and both inputs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "size"), [("112,96", (112, 96)), ("112, 96", (112, 96)), ("112x96", (112, 96)), ("96", (96, 96))]
)
def test_its_spellings(text, size):
    for name, given in (("embed", ["--input", "i", "--output", "o", "--model", "m"]), ("face2rec", ["a.lst"])):
        assert cli.build_parser(name).parse_args([*given, "--image-size", text]).image_size == size


def test_what_is_given_becomes_a_fact_of_the_slimmed_file(work, tmp_path):
    assert run("model-slim", work, tmp_path, "foreign/m,1", "--image-size", "144,140") == 0
    assert engines.load(f"{tmp_path}/s,0").image_size == (144, 140)


def test_an_assumption_does_not(tmp_path, capsys):
    checkpoint.save(f"{tmp_path}/m", 1, Checkpoint(*filled(residual())))
    assert run_command("model-slim", ["--model", f"{tmp_path}/m,1", "--num-faces", "2"]) == 0
    assert f"note: {tmp_path}/m,1: states no image size; 112x112 is assumed (105..112 x 105..112 fit)" in (
        capsys.readouterr().err
    )
    assert "__shape__" not in checkpoint.symbol_path(f"{tmp_path}/ms").read_text()


def test_several_checkpoints_are_noted_once(tmp_path, work, capsys):
    for number in (1, 2, 3):
        checkpoint.save(f"{tmp_path}/m", number, Checkpoint(*filled(residual(), size=112)))
    draw = np.random.default_rng(0)
    images = [cv2.imencode(".png", draw.integers(0, 256, (112, 112, 3), np.uint8))[1].tobytes() for _ in range(4)]
    evalbin.write_bin(tmp_path / "val.bin", images, [True, False])
    words = ["--model", f"{tmp_path}/m", "--data-dir", str(tmp_path), "--target", "val", "--bootstrap", "0"]
    assert run_command("verification", words) == 0
    out = capsys.readouterr().out
    assert out.count("note: ") == 1
    assert out.count("loading") == 3


@pytest.mark.parametrize("engine", ["mxnet", "onnxruntime", "openvino"])
def test_every_engine_says_what_was_assumed(engine, tmp_path):
    checkpoint.save(f"{tmp_path}/m", 1, Checkpoint(*filled(residual())))
    silent, given = (engines.load(f"{tmp_path}/m,1", engine=engine, image_size=size) for size in (None, (110, 112)))
    assert (silent.image_size, given.image_size, given.notes) == ((112, 112), (110, 112), [])
    assert [note.split(";")[0] for note in silent.notes] == ["states no image size"]


def test_python_takes_it_too(work):
    faces = FaceEmbedding(f"{work}/foreign/m,1", image_size=SIZE)
    assert (faces.image_size, faces.notes) == (SIZE, [])
    with pytest.raises(InsightError, match="states no image size"):
        FaceEmbedding(f"{work}/foreign/m,1")
    for wrong in ((112,), (0, 112), (3, 112, 112)):
        with pytest.raises(InsightError, match="want height and width in pixels"):
            engines.load(f"{work}/foreign/m,1", image_size=wrong)


def onnx_model(path, lengths, metadata=(), normalise=False):
    """(Sub, Mul where asked) -> mean over each colour -> Gemm; lengths may be open. Returns its weight."""
    weight = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    nodes, last = [], "data"
    if normalise:
        nodes = [helper.make_node("Sub", ["data", "mean"], ["s"]), helper.make_node("Mul", ["s", "two"], ["m"])]
        last = "m"
    nodes += [helper.make_node("GlobalAveragePool", [last], ["p"]), helper.make_node("Flatten", ["p"], ["f"])]
    nodes += [helper.make_node("Gemm", ["f", "w"], ["out"], transB=1)]
    held = {"w": weight, **({"mean": np.float32(127.5), "two": np.float32(2)} if normalise else {})}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, lengths)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in held.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    helper.set_model_props(model, dict(metadata))
    path.write_bytes(model.SerializeToString())
    return weight


RUNTIMES = pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])


@RUNTIMES
@pytest.mark.parametrize("lengths", [["n", 3, "h", "w"], ["n", 3, 96, "w"]])
def test_an_onnx_file_that_leaves_the_size_open_needs_it(runtime, lengths, tmp_path):
    path = tmp_path / "m.onnx"
    onnx_model(path, lengths)
    with pytest.raises(InsightError, match=r"m.onnx: leaves the size of its images open .*: --image-size H,W$"):
        engines.load(str(path), engine=runtime)
    engine = engines.load(str(path), engine=runtime, image_size=(96, 80))
    assert (engine.image_size, engine.dimension, engine.notes) == ((96, 80), 4, [])
    assert engine(random_faces(3, (96, 80))).shape == (3, 4)
    onnx_model(path, lengths, {"input_size": "96,80"})
    assert engines.load(str(path), engine=runtime).image_size == (96, 80)


@pytest.mark.parametrize("threads", [1, 2])
@RUNTIMES
def test_a_size_that_the_file_does_not_take_is_a_line(runtime, threads, tmp_path, capfd):
    path = tmp_path / "m.onnx"
    onnx_model(path, ["n", 3, 112, 112])
    with pytest.raises(InsightError, match="m.onnx: --image-size 96x80: the file states 112x112; leave the option out"):
        engines.load(str(path), engine=runtime, image_size=(96, 80))
    x = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, "h", "w"])
    y = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 4])
    weight = numpy_helper.from_array(np.ones((4, 3 * 64), np.float32), "w")
    nodes = [helper.make_node("Flatten", ["data"], ["f"]), helper.make_node("Gemm", ["f", "w"], ["out"], transB=1)]
    graph = helper.make_graph(nodes, "g", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    path.write_bytes(model.SerializeToString())
    assert engines.load(str(path), engine=runtime, image_size=(8, 8)).dimension == 4
    capfd.readouterr()
    for side in (9, 16):  # 16: one image can be taken for four
        with pytest.raises(InsightError, match=rf"m.onnx: does not take {side}x{side} images: \S"):
            engines.load(str(path), engine=runtime, threads=threads, image_size=(side, side))
    assert capfd.readouterr().err == ""


@RUNTIMES
@pytest.mark.parametrize(
    ("normalise", "metadata", "inside", "bgr"),
    [
        (False, {}, False, False),
        (True, {}, True, False),
        (False, {"normalisation": "inside"}, True, False),
        (True, {"normalisation": "outside"}, False, False),
        (True, {"normalisation": "none of ours"}, True, False),
        (False, {"color_order": "bgr"}, False, True),
        (True, {"color_order": "RGB", "normalisation": "inside"}, True, False),
    ],
)
def test_what_the_metadata_say_is_done(runtime, normalise, metadata, inside, bgr, tmp_path):
    path = tmp_path / "m.onnx"
    weight = onnx_model(path, ["n", 3, 8, 8], metadata, normalise)
    engine = engines.load(str(path), engine=runtime)
    assert engine.normalises == inside
    x = random_faces(3, (8, 8))
    means = x.astype(np.float64).mean((2, 3))
    means = means[:, ::-1] if bgr else means
    means = means if inside else (means - 127.5) / 127.5
    assert far((means - 127.5) * 2 @ weight.T if normalise else means @ weight.T, engine(x)) < 1e-5
    assert ("BGR" in engine.describe()) == bgr


def test_another_colour_order_is_refused(tmp_path):
    onnx_model(tmp_path / "m.onnx", ["n", 3, 8, 8], {"color_order": "GRB"})
    with pytest.raises(InsightError, match="m.onnx: its metadata states color_order 'GRB'; want RGB or BGR"):
        engines.load(str(tmp_path / "m.onnx"))


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_exports_of_networks_that_do_not_normalise_say_so(suffix, tmp_path):
    """OpenVINO drops the x * 1 - 0 by which others know that pixels go in as they are; the metadata stay."""
    held = filled(S.FullyConnected(S.Variable("data", shape=(0, 3, 24, 24)), num_hidden=4, name="fc1"), size=24)
    checkpoint.save(f"{tmp_path}/m", 1, Checkpoint(*held))
    words = ["--model", f"{tmp_path}/m,1", "--output", f"{tmp_path}/o{suffix}", "--num-faces", "4"]
    assert run_command("export-onnx", words) == 0
    engine = engines.load(f"{tmp_path}/o{suffix}", engine="openvino")
    x = random_faces(3, (24, 24))
    assert engine.normalises
    assert far(evaluate(*held, x.astype(np.float32)), engine(x)) < 2e-5


def test_a_checkpoint_that_does_not_normalise_is_noted(tmp_path, capsys):
    held = filled(S.FullyConnected(S.Variable("data", shape=(0, 3, 24, 24)), num_hidden=4, name="fc1"), size=24)
    checkpoint.save(f"{tmp_path}/m", 1, Checkpoint(*held))
    assert run_command("model-slim", ["--model", f"{tmp_path}/m,1", "--num-faces", "2"]) == 0
    assert f"note: {tmp_path}/m,1: does not normalise pixels inside its graph" in capsys.readouterr().err


def test_an_export_says_nothing_of_assumptions(tmp_path):
    """They are for the one who exports; the file takes that size and no other."""
    checkpoint.save(f"{tmp_path}/m", 1, Checkpoint(*filled(residual())))
    words = ["--model", f"{tmp_path}/m,1", "--output", f"{tmp_path}/m.onnx", "--num-faces", "2"]
    assert run_command("export-onnx", words) == 0
    assert "assumed" not in {p.key for p in load(f"{tmp_path}/m.onnx").metadata_props}
    assert engines.load(f"{tmp_path}/m.onnx").notes == []


class TestNcnn:
    LINES = (
        "BinaryOp m 1 1 data m 0=1 1=1 2=127.5",
        "Pooling p 1 1 m p 0=1 4=1",
        "InnerProduct fc1 1 1 p fc1 0=4 1=0 2=12",
    )

    def write(self, folder, first):
        pytest.importorskip("ncnn")
        lines = [first, *self.LINES]
        (folder / "m.param").write_text(f"7767517\n{len(lines)} {len(lines)}\n" + "\n".join(lines) + "\n")
        weight = np.random.default_rng(0).normal(size=(4, 3)).astype("<f4")
        (folder / "m.bin").write_bytes(b"\0" * 4 + weight.tobytes())
        return str(folder / "m.param")

    def test_a_silent_input_layer(self, tmp_path):
        spec = self.write(tmp_path, "Input data 0 1 data")
        assumed, given = engines.load(spec), engines.load(spec, image_size=(96, 80))
        note = "states no image size in its Input layer; 112x112 is assumed; --image-size H,W gives another"
        assert (assumed.image_size, assumed.notes) == ((112, 112), [note])
        assert (given.image_size, given.notes) == ((96, 80), [])

    def test_one_that_states_it(self, tmp_path):
        spec = self.write(tmp_path, "Input data 0 1 data 0=80 1=96 2=3")
        assert engines.load(spec, image_size=(96, 80)).image_size == engines.load(spec).image_size == (96, 80)
        with pytest.raises(InsightError, match="m.param: --image-size 80x96: the file states 96x80; leave the option"):
            engines.load(spec, image_size=(80, 96))


@pytest.mark.parametrize("command", ["verification", "embed", "identification", "report", "megaface"])
def test_device(command, work, tmp_path, capfd):
    """Another device of MXNet's, and one that does not exist: the engine's own message shows that it was asked for."""
    for name in "23":
        (tmp_path / name).mkdir()
    assert run(command, work, tmp_path, "ours/m,1", "--device", "cpu:1", "--engine", "mxnet") == 0
    capfd.readouterr()
    assert run(command, work, tmp_path / "2", "ours/m,1", "--device", "gpu:7", "--engine", "mxnet") == 2
    assert re.match(r"error: --device gpu:7: MXNet sees \d GPUs; run: insight doctor\n$", capfd.readouterr().err)
    assert run(command, work, tmp_path / "3", "ours/m,1", "--device", "tpu") == 2
    assert capfd.readouterr().err == "error: --device tpu: want cpu, gpu or gpu:NUMBER\n"


def test_every_command_with_a_choice_of_engines_has_device():
    options = {name: cli.build_parser(name)._option_string_actions for name in cli.command_names()}
    with_engine = {name for name, actions in options.items() if "--engine" in actions}
    assert {name for name, actions in options.items() if "--device" in actions} == with_engine - {"benchmark"}
