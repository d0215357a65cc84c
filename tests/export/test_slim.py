"""Slimmed checkpoints load in plain MXNet, embed as before, and never replace what is there."""

import json

import numpy as np
import pytest
from small_networks import evaluate, far, filled, images, mobile, residual, training

from insight import checkpoint
from insight._mxnet import mx
from insight.checkpoint import Checkpoint
from insight.cli import run_command
from insight.errors import CheckFailed, InsightError
from insight.export import parity
from insight.export.slim import slim


@pytest.fixture
def trained(tmp_path):
    """(spec, checkpoint) of a training graph on disk."""
    held = Checkpoint(*filled(training(mobile()), softmax_label=(1,)))
    checkpoint.save(str(tmp_path / "y1"), 40, held)
    return f"{tmp_path}/y1,40", held


def embeddings(held, x):
    symbol = held.symbol.get_internals()["fc1_output"]
    names = set(symbol.list_inputs())
    return evaluate(symbol, {k: v for k, v in held.arg_params.items() if k in names}, held.aux_params, x)


@pytest.mark.parametrize("fold_bn", [False, True])
def test_plain_mxnet_reads_the_result(trained, fold_bn):
    spec, held = trained
    done = slim(spec, fold_bn=fold_bn)
    assert (done.prefix, done.epoch) == (spec.replace(",40", "s"), 0)
    assert done.parity.lowest > 0.99999
    assert done.after < done.before
    symbol, arg_params, aux_params = mx.model.load_checkpoint(done.prefix, 0)
    assert symbol.list_outputs() == ["fc1_output"]
    assert set(symbol.list_inputs()) == {"data", *arg_params, *aux_params}
    assert bool(aux_params) != fold_bn
    assert far(embeddings(held, images()), evaluate(symbol, arg_params, aux_params, images())) < 2e-5


def test_the_symbol_is_laid_out_line_by_line(trained):
    """mxnet2ncnn reads lines, as Symbol.save writes them; each batch norm says fix_gamma there."""
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


def test_nothing_is_replaced_unasked(trained):
    spec, _ = trained
    prefix = spec.rpartition(",")[0]
    slim(spec)
    with pytest.raises(InsightError, match="y1s-symbol.json: is there already; .*--overwrite"):
        slim(spec)
    slim(spec, overwrite=True)
    before = checkpoint.symbol_path(prefix).read_bytes()
    with pytest.raises(InsightError, match="is the source"):
        slim(spec, prefix, overwrite=True)
    assert checkpoint.symbol_path(prefix).read_bytes() == before


def test_another_layer(trained, tmp_path):
    done = slim(trained[0], str(tmp_path / "pre"), layer="pre_fc1")
    symbol, arg_params, _ = mx.model.load_checkpoint(done.prefix, 0)
    assert symbol.list_outputs() == ["fc1_output"]
    assert "fc1_gamma" not in arg_params


def test_a_fold_that_is_wrong_is_not_written(trained, tmp_path, monkeypatch):
    from insight.graph import fold

    monkeypatch.setattr(fold, "BATCH_NORM_EPS", 0.5)
    with pytest.raises(CheckFailed, match="embeds unlike MXNet"):
        slim(trained[0], str(tmp_path / "out/f"), fold_bn=True)
    assert not (tmp_path / "out").exists()


def test_the_command(trained, capsys):
    spec, _ = trained
    assert run_command("model-slim", ["--model", spec, "--fold-bn"]) == 0
    said = capsys.readouterr().out
    assert f"{spec}: 0.0" in said
    assert f"MB -> {spec.replace(',40', 's')},0: 0.0" in said
    assert run_command("model-slim", ["--model", spec, "--layer", "nothing", "--output", f"{spec}-x"]) == 2
    assert "no layer 'nothing'" in capsys.readouterr().err


def test_a_cut_file_is_one_line(trained, capsys):
    spec, _ = trained
    path = checkpoint.params_path(spec[:-3], 40)
    path.write_bytes(path.read_bytes()[:-100])
    assert run_command("model-slim", ["--model", spec]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_parity_is_the_cosine_of_rows():
    a = np.array([[1.0, 0.0], [3.0, 4.0]])
    b = np.array([[2.0, 0.0], [4.0, 3.0]])
    found = parity.compare(a, b)
    assert (found.count, found.lowest, found.mean) == (2, pytest.approx(0.96), pytest.approx(0.98))


def test_an_embedding_that_is_no_number_does_not_pass():
    faces = parity.random_faces(2, (8, 8))
    good, bad = np.ones((2, 3)), np.array([[1.0, 1, 1], [np.nan, 1, 1]])
    for rows in (bad, np.zeros((2, 3))):
        with pytest.raises(CheckFailed):
            parity.gate("f", lambda _: good, lambda _, rows=rows: rows, faces, 0.9)
    with pytest.raises(CheckFailed):
        parity.gate("f", lambda _: bad, lambda _: bad, faces, 0.9)
    assert parity.gate("f", lambda _: good, lambda _: good * 2, faces, 0.9).count == 2


def test_random_faces_depend_on_seed_and_position_alone():
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
