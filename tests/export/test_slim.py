"""Slimmed checkpoints load in plain MXNet, give the same embeddings, and do not replace existing files."""

import json
import re

import cv2
import numpy as np
import pytest
from small_networks import S, evaluate, far, filled, images, mobile, pixels, residual, training
from whole_networks import write_log

from insight import checkpoint
from insight._mxnet import mx
from insight.checkpoint import Checkpoint
from insight.cli import run_command
from insight.errors import CheckFailed, InsightError
from insight.export import parity
from insight.export.slim import slim
from insight.files.atomic import make_folder
from insight.runs import lineage


@pytest.fixture
def trained(tmp_path):
    """(spec, checkpoint) of a training graph on disk."""
    stored = Checkpoint(*filled(training(mobile()), softmax_label=(1,)))
    checkpoint.save(str(tmp_path / "y1"), 40, stored)
    return f"{tmp_path}/y1,40", stored


def embeddings(stored, x):
    symbol = stored.symbol.get_internals()["fc1_output"]
    names = set(symbol.list_inputs())
    return evaluate(symbol, {k: v for k, v in stored.arg_params.items() if k in names}, stored.aux_params, x)


@pytest.mark.parametrize("fold_bn", [False, True])
def test_plain_mxnet_reads_the_result(trained, fold_bn):
    spec, stored = trained
    done = slim(spec, fold_bn=fold_bn)
    assert (done.prefix, done.epoch) == (spec.replace(",40", "s"), 0)
    assert done.parity.lowest > 0.99999
    assert done.after < done.before
    symbol, arg_params, aux_params = mx.model.load_checkpoint(done.prefix, 0)
    assert symbol.list_outputs() == ["fc1_output"]
    assert set(symbol.list_inputs()) == {"data", *arg_params, *aux_params}
    assert bool(aux_params) != fold_bn
    assert far(embeddings(stored, images()), evaluate(symbol, arg_params, aux_params, images())) < 2e-5


def test_the_symbol_is_laid_out_line_by_line(trained):
    """mxnet2ncnn reads lines, as Symbol.save writes them; each batch norm states fix_gamma."""
    path = checkpoint.symbol_path(slim(trained[0]).prefix)
    text = path.read_text()
    assert text.startswith('{\n  "nodes": [\n    {\n      "op": "null", \n      "name": "data", \n')
    assert text.count('"op": "BatchNorm"') == text.count('"fix_gamma": ') == 11
    assert all(not node.get("attrs") for node in json.loads(text)["nodes"] if node["op"] == "null")


def test_dropout_and_the_last_batch_norms_fold(tmp_path):
    checkpoint.save(str(tmp_path / "r"), 0, Checkpoint(*filled(residual())))
    done = slim(f"{tmp_path}/r,0", str(tmp_path / "folded"), fold_bn=True)
    operators = [node["op"] for node in json.loads(checkpoint.symbol_path(done.prefix).read_text())["nodes"]]
    assert "Dropout" not in operators
    assert operators.count("BatchNorm") == 2  # before padded convolutions


def test_files_are_replaced_with_overwrite_only(trained):
    spec, _ = trained
    prefix = spec.rpartition(",")[0]
    slim(spec)
    with pytest.raises(InsightError, match="y1s-symbol.json: already exists; .*--overwrite"):
        slim(spec)
    slim(spec, overwrite=True)
    before = checkpoint.symbol_path(prefix).read_bytes()
    with pytest.raises(InsightError, match="is the source"):
        slim(spec, prefix, overwrite=True)
    assert checkpoint.symbol_path(prefix).read_bytes() == before


@pytest.mark.parametrize("epoch", [40, 0])
@pytest.mark.parametrize("spelling", ["{0}/./y1", "{0}/link/y1", "{0}/link/../y1", "{0}/other"])
def test_the_source_is_recognised_in_any_spelling(trained, tmp_path, spelling, epoch):
    stored = trained[1]
    (tmp_path / "link").mkdir()
    if "link/y1" in spelling:
        (tmp_path / "link").rmdir()
        (tmp_path / "link").symlink_to(tmp_path)
    checkpoint.save(str(tmp_path / "y1"), epoch, stored)
    source = checkpoint.params_path(f"{tmp_path}/y1", epoch)
    if "other" in spelling:  # links to both files
        checkpoint.symbol_path(f"{tmp_path}/other").symlink_to(checkpoint.symbol_path(f"{tmp_path}/y1"))
        checkpoint.params_path(f"{tmp_path}/other", 0).symlink_to(source)
    before = checkpoint.symbol_path(f"{tmp_path}/y1").read_bytes(), source.read_bytes()
    with pytest.raises(InsightError, match="is the source"):
        slim(f"{tmp_path}/y1,{epoch}", spelling.format(tmp_path), overwrite=True)
    assert (checkpoint.symbol_path(f"{tmp_path}/y1").read_bytes(), source.read_bytes()) == before


def test_a_folder_is_not_a_prefix(trained, tmp_path):
    with pytest.raises(InsightError, match="new/: is a folder; want a prefix, for example .*new/model"):
        slim(trained[0], f"{tmp_path}/new/")


def test_another_layer(trained, tmp_path):
    done = slim(trained[0], str(tmp_path / "pre"), layer="pre_fc1")
    symbol, arg_params, _ = mx.model.load_checkpoint(done.prefix, 0)
    assert symbol.list_outputs() == ["fc1_output"]
    assert "fc1_gamma" not in arg_params


def test_a_fold_that_is_wrong_is_not_written(trained, tmp_path, monkeypatch):
    from insight.graph import fold

    monkeypatch.setattr(fold, "BATCH_NORM_EPS", 0.5)
    with pytest.raises(CheckFailed, match="its embeddings differ from MXNet's"):
        slim(trained[0], str(tmp_path / "out/f"), fold_bn=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [[], ["--fold-bn"]])
def test_a_file_that_is_damaged_before_the_gate_is_not_kept(trained, tmp_path, monkeypatch, capsys, options):
    """A parameter of the written file is changed before it is read back."""
    read = checkpoint.read

    def nudged(symbol, params):
        arrays = mx.nd.load(str(params))
        arrays["arg:pre_fc1_weight"] += 0.02 * mx.nd.arange(6).reshape((-1, 1))
        mx.nd.save(str(params), arrays)
        return read(symbol, params)

    monkeypatch.setattr(checkpoint, "read", nudged)
    assert run_command("model-slim", ["--model", trained[0], "--output", str(tmp_path / "out/f"), *options]) == 1
    assert "its embeddings differ from MXNet's" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_lineage_is_written_and_an_older_one_removed(trained, tmp_path, capsys):
    spec, stored = trained
    write_log(tmp_path / "run/net", 3)
    checkpoint.save(f"{tmp_path}/run/net", 3, stored)
    assert run_command("model-slim", ["--model", f"{tmp_path}/run/net,3", "--output", f"{tmp_path}/ship/net"]) == 0
    assert f"lineage: 1 training stage, {tmp_path}/ship/net-lineage.json" in capsys.readouterr().out
    (stage,) = lineage.stages(f"{tmp_path}/ship/net", 0)
    assert (stage.name, stage.steps, stage.options["data_dir"], stage.set_fingerprint) == (
        "run/net",
        70,
        "faces",
        "4a66f49f",
    )
    again = slim(f"{tmp_path}/ship/net,0", f"{tmp_path}/ship/folded", fold_bn=True)
    assert (again.stages, lineage.stages(again.prefix, 0)) == (1, [stage])
    assert slim(spec, f"{tmp_path}/ship/net", overwrite=True).stages == 0
    assert not lineage.path(f"{tmp_path}/ship/net").exists()


def old_json(text, drop_statistics=False):
    """A symbol as MXNet 1.0 wrote it ("attr"), or as 0.8 did ("param"; running statistics were not listed)."""
    document = json.loads(text)
    nodes = document["nodes"]
    if not drop_statistics:
        for node in nodes:
            node["attr"] = node.pop("attrs", {})
        return json.dumps({**document, "attrs": {"mxnet_version": ["int", 10000]}})
    kept = [i for i, node in enumerate(nodes) if not node["name"].endswith(("moving_mean", "moving_var"))]
    number = {old: new for new, old in enumerate(kept)}
    edges = [[[number[edge[0]], edge[1]] for edge in nodes[i]["inputs"] if edge[0] in number] for i in kept]
    rows = [
        {"op": nodes[i]["op"], "param": nodes[i].get("attrs", {}), "name": nodes[i]["name"], "inputs": inputs}
        for i, inputs in zip(kept, edges)
    ]
    rows = [{**row, "backward_source_id": -1} for row in rows]
    heads = [[number[head[0]], head[1]] for head in document["heads"]]
    return json.dumps(
        {"nodes": rows, "arg_nodes": [i for i, row in enumerate(rows) if row["op"] == "null"], "heads": heads}
    )


@pytest.mark.parametrize("drop_statistics", [False, True], ids=["1.0", "0.8"])
def test_symbols_of_older_mxnet_are_upgraded(trained, drop_statistics, capfd):
    spec, stored = trained
    path = checkpoint.symbol_path(spec[: -len(",40")])
    path.write_text(old_json(path.read_text(), drop_statistics))
    done = slim(spec)
    symbol, arg_params, aux_params = mx.model.load_checkpoint(done.prefix, 0)
    assert far(embeddings(stored, images()), evaluate(symbol, arg_params, aux_params, images())) < 2e-5
    assert json.loads(checkpoint.symbol_path(done.prefix).read_text())["attrs"]["mxnet_version"] == ["int", 10901]
    assert "previous version" not in capfd.readouterr().err


def detector():
    x = S.Convolution(pixels(S.Variable("data")), num_filter=4, kernel=(3, 3), stride=(8, 8), name="stem")
    return filled(S.Group([S.Convolution(x, num_filter=n, kernel=(1, 1), name=f"rpn_{n}") for n in (2, 4, 10)]))


def arrays_of(network):
    """Its arrays with the symbol of ``mobile``."""
    return (mobile(), *network[1:])


def not_finite():
    symbol, arg_params, aux_params = filled(mobile())
    return symbol, {**arg_params, "fc1_beta": arg_params["fc1_beta"] * np.nan}, aux_params


FOREIGN = {
    "a detector": (detector, 2, "no layer 'fc1' .* nor any other that gives one vector per image"),
    "a classifier": (
        lambda: filled(S.FullyConnected(S.Variable("data"), num_hidden=9, name="cls")),
        2,
        "no layer 'fc1' .* candidates: cls; slim the model with model-slim --layer NAME",
    ),
    "a feature map": (
        lambda: filled(S.Convolution(S.Variable("data"), num_filter=2, kernel=(9, 9), name="fc1")),
        2,
        r"its output has shape \(1, 2, 104, 104\), not \(images, dimension\)",
    ),
    "arrays of another family": (
        lambda: arrays_of(filled(residual())),
        2,
        "lacks conv_1_conv2d_weight, .* belongs to another symbol",
    ),
    "arrays of another size": (
        lambda: arrays_of(filled(mobile(embedding=8))),
        2,
        "no usual image size fits the network; .*pre_fc1",
    ),
    "not finite": (not_finite, 1, "MXNet's own embeddings are not finite"),
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("command", ["model-slim", "export-onnx"])
def test_foreign_models_are_one_line(kind, command, tmp_path, capsys):
    make, status, message = FOREIGN[kind]
    checkpoint.save(str(tmp_path / "m"), 1, Checkpoint(*make()))
    before = sorted(tmp_path.iterdir())
    output = str(tmp_path / ("out.onnx" if command == "export-onnx" else "out"))
    assert run_command(command, ["--model", f"{tmp_path}/m,1", "--output", output, "--num-faces", "2"]) == status
    printed = capsys.readouterr().err
    assert re.search(message, printed)
    assert printed.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("file", ["params", "symbol"])
@pytest.mark.parametrize("keep", [0, 3, 100, 0.5, -200])
@pytest.mark.parametrize("command", ["model-slim", "export-onnx"])
def test_truncated_files_are_one_line(trained, tmp_path, file, keep, command, capsys):
    prefix = trained[0][: -len(",40")]
    path = checkpoint.params_path(prefix, 40) if file == "params" else checkpoint.symbol_path(prefix)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep == 0.5 else keep])
    output = str(tmp_path / ("out.onnx" if command == "export-onnx" else "out"))
    assert run_command(command, ["--model", trained[0], "--output", output]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: {path}: not an MXNet ")
    assert "or cut short" in printed
    assert printed.count("\n") == 1
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("out")]


def test_the_command(trained, tmp_path, capsys):
    spec, _ = trained
    assert run_command("model-slim", ["--model", spec, "--num-faces", "0"]) == 2
    assert "--num-faces 0: must be at least 1" in capsys.readouterr().err
    cv2.imwrite(str(make_folder(tmp_path / "faces/a") / "0.png"), np.zeros((112, 112, 3), np.uint8))
    faces = ["--faces", str(tmp_path / "faces"), "--output", f"{spec}-f"]
    assert run_command("model-slim", ["--model", spec, *faces]) == 0
    assert "over 1 faces" in capsys.readouterr().out
    assert run_command("model-slim", ["--model", spec, "--fold-bn"]) == 0
    printed = capsys.readouterr().out
    assert f"{spec}: 0.0" in printed
    assert f"MB -> {spec.replace(',40', 's')},0: 0.0" in printed
    assert run_command("model-slim", ["--model", spec, "--layer", "nothing", "--output", f"{spec}-x"]) == 2
    assert "no layer 'nothing'" in capsys.readouterr().err


def test_parity_is_the_cosine_of_rows():
    a = np.array([[1.0, 0.0], [3.0, 4.0]])
    b = np.array([[2.0, 0.0], [4.0, 3.0]])
    found = parity.compare(a, b)
    assert (found.count, found.lowest, found.mean) == (2, pytest.approx(0.96), pytest.approx(0.98))


def test_an_embedding_with_nan_does_not_pass():
    faces = parity.random_faces(2, (8, 8))
    good, bad = np.ones((2, 3)), np.array([[1.0, 1, 1], [np.nan, 1, 1]])
    for rows in (bad, np.zeros((2, 3))):
        with pytest.raises(CheckFailed):
            parity.gate("f", lambda _: good, lambda _, rows=rows: rows, faces, 0.9)
    with pytest.raises(CheckFailed, match="f: MXNet's own embeddings are not finite"):
        parity.gate("f", lambda _: bad, lambda _: bad, faces, 0.9)
    assert parity.gate("f", lambda _: good, lambda _: good * 2, faces, 0.9).count == 2


def test_random_faces_depend_only_on_seed_and_position():
    eight = parity.random_faces(8, (112, 96))
    assert (eight.shape, eight.dtype) == ((8, 3, 112, 96), np.uint8)
    assert (parity.random_faces(3, (112, 96)) == eight[:3]).all()
    assert (parity.random_faces(8, (112, 96), seed=1) != eight).any()
    # contrast and smoothness of faces, so that a network does not see a flat field or white noise
    assert 30 < eight.std() < 80
    assert np.abs(np.diff(eight.astype(int), axis=3)).mean() < 15


def test_random_faces_spread_a_real_network(model_y1):
    from insight.engines import load

    rows = load(f"{model_y1[0]},{model_y1[1]}")(parity.random_faces(16, (112, 112)))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosine = (rows @ rows.T)[np.triu_indices(16, 1)]
    assert cosine.mean() < 0.9
