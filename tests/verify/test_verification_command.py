"""`insight verification`: choice of models and sets, and errors."""

import json

import cv2
import numpy as np
import pytest
from small_networks import S, filled

from insight import checkpoint
from insight.checkpoint import Checkpoint
from insight.cli import run_command
from insight.formats import evalbin


def picture(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """Epochs 1, 2, 3 and 12 of a small network that takes 64x64 images."""
    x = S.Pooling(
        (S.Variable("data", shape=(0, 3, 64, 64)) - 127.5) / 128, kernel=(8, 8), stride=(8, 8), pool_type="avg"
    )
    prefix = tmp_path_factory.mktemp("m") / "small-net"  # with a dash, which InsightFace stumbled over
    small = Checkpoint(*filled(S.FullyConnected(x, num_hidden=4, name="fc1"), size=64))
    for epoch in (1, 2, 3, 12):
        checkpoint.save(str(prefix), epoch, small)
    return str(prefix)


@pytest.fixture
def sets(tmp_path):
    """A .bin of twelve pairs, one of a single kind, one with a broken image, and a folder with a list of pairs."""
    images = [picture(i // 3) for i in range(24)]
    evalbin.write_bin(tmp_path / "good.bin", images, np.arange(12) % 2 == 0)
    evalbin.write_bin(tmp_path / "one_kind.bin", images, np.ones(12, bool))
    evalbin.write_bin(tmp_path / "broken.bin", [*images[:5], b"\xff\xd8cut", *images[6:]], np.arange(12) % 2 == 0)
    for name in ("Ann/Ann_0001.png", "Ann/Ann_0002.png", "Bob/Bob_0001.png"):
        path = tmp_path / "faces" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(len(name) + ord(name[-5])))
    (tmp_path / "pairs.txt").write_text("1\t1\nAnn\t1\t2\nAnn\t1\tBob\t1\n")
    return tmp_path


def verification(*arguments):
    return run_command("verification", [*map(str, arguments), "--bootstrap", "20"])


def loaded(out):
    return [line.split()[-1] for line in out.splitlines() if line.startswith("loading ")]


@pytest.mark.parametrize(
    "model, more, epochs",
    [
        ("{},2", [], ["2"]),
        ("{},2|12", [], ["2", "12"]),
        ("{}", [], ["12", "3", "2", "1"]),
        ("{}", ["--max", "1,3"], ["3", "2"]),
    ],
)
def test_which_epochs(prefix, sets, capsys, model, more, epochs):
    output = sets / "out.json"
    model = model.format(prefix)
    assert verification("--data-dir", sets, "--target", "good,none", "--model", model, "--json", output, *more) == 0
    out = capsys.readouterr().out
    assert f"skipped: none (no none.bin in {sets})" in out
    assert loaded(out) == epochs
    assert out.count("[good]Accuracy-Flip: ") == len(epochs)
    assert ("Max of [good] is " in out) == (len(epochs) > 1)
    results = json.loads(output.read_text())["results"]
    assert [r["model"] for r in results] == [f"{prefix},{epoch}" for epoch in epochs]


def test_spaces_between_targets_are_ignored(prefix, sets, capsys):
    assert verification("--data-dir", sets, "--target", "none, good", "--model", f"{prefix},1") == 0
    out = capsys.readouterr().out
    assert f"skipped: none (no none.bin in {sets})" in out and "[good]Accuracy-Flip: " in out


def test_a_list_of_pairs_beside_a_bin(prefix, sets, capsys):
    pairs = ("--pairs", sets / "pairs.txt", "--image-root", sets / "faces")
    assert verification("--data-dir", sets, "--target", "good", "--model", f"{prefix},1", *pairs) == 0
    out = capsys.readouterr().out
    assert "[good]Intervals: 95 %, 20 bootstrap resamples over pairs, seed 0" in out
    assert "[pairs]Pairs: 2 (1 same, 1 different), 3 distinct images" in out
    assert "[pairs]Folds: 2 of one pair each" in out  # ten were asked for
    assert "[pairs]Intervals: 95 %, 20 bootstrap resamples over identities, seed 0" in out


def test_a_set_of_one_kind_is_skipped_beside_others(prefix, sets, capsys):
    reason = "skipped: one_kind (all 12 pairs are same; accuracy needs pairs of both kinds)"
    for arguments in (
        ["--target", "one_kind,good"],
        ["--target", "one_kind", "--pairs", sets / "pairs.txt", "--image-root", sets / "faces"],
    ):
        assert verification("--data-dir", sets, "--model", f"{prefix},1", *arguments) == 0
        out = capsys.readouterr().out
        assert reason in out
        assert out.count("]Accuracy-Flip: ") == 1 and "[one_kind]" not in out


def test_flags_of_the_script_are_one_note(prefix, sets, capsys):
    arguments = ["--data-dir", sets, "--target", "good", "--gpu", "0", "--mode", "0", "--batch_size", "8"]
    assert verification("--model", f"{prefix},1", *arguments) == 0
    out, _ = capsys.readouterr()
    assert out.startswith(
        "note: without effect here: --gpu (models are evaluated on the CPU; --device gpu:N takes a GPU)\nloading "
    )
    assert out.count("note: without effect") == 1 and "[good]Accuracy-Flip: " in out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["--data-dir", "{0}", "--target", "one_kind"],
            "{0}/one_kind.bin: all 12 pairs are same; accuracy needs pairs of",
        ),
        (["--data-dir", "{0}", "--target", "broken"], "{0}/broken.bin: image 5: not a readable image (it starts with"),
        (["--data-dir", "{0}", "--target", "x,y"], "--data-dir {0}: contains none of x.bin, y.bin"),
        (["--data-dir", "{0}", "--target", " ,"], "--target ' ,': names no set"),
        (["--data-dir", "{0}/none", "--target", "good"], "--data-dir {0}/none: no such folder"),
        (["--data-dir", "{0}", "--target", "good", "--json", "{0}"], "--json {0}: a folder"),
        (["--data-dir", "{0}", "--target", "good", "--json", "{0}/good.bin"], "--json {0}/good.bin: is an input, too"),
        ([], "nothing to verify on; give --data-dir with .bin files, or --pairs"),
        (["--pairs", "{0}/pairs.txt"], "{0}/pairs.txt: 3 of 3 images are missing, the first is {0}/Ann/Ann_0001.jpg;"),
        (["--data-dir", "{0}", "--image-root", "x"], "--image-root x: applies to --pairs only"),
        (["--data-dir", "{0}", "--target", "good", "--nfolds", "0"], "--nfolds 0: must be at least 1"),
        (["--data-dir", "{0}", "--target", "good", "--max", "0,2"], "--max 0,2: chooses among all epochs of a prefix"),
    ],
)
def test_invalid_options_are_errors(prefix, sets, capsys, arguments, message):
    assert verification("--model", f"{prefix},1", *(a.format(sets) for a in arguments)) == 2
    assert capsys.readouterr().err.startswith(f"error: {message.format(sets)}")


@pytest.mark.parametrize(
    "model, more, message",
    [
        ("{},2|4|5", [], "--model {},2|4|5: no epoch 4, 5; existing epochs: 1, 2, 3, 12"),
        ("{}x", [], "--model {}x: no checkpoint {}x-*.params; want a prefix"),
        ("{}", ["--max", "4,9"], "--max 4,9: want A,B, 0 and up, A below B and below 4"),
        ("{}", ["--max", "new"], "--max new: want A,B"),
    ],
)
def test_missing_models_are_listed(prefix, sets, capsys, model, more, message):
    assert verification("--data-dir", sets, "--target", "good", "--model", model.replace("{}", prefix), *more) == 2
    assert capsys.readouterr().err.startswith(f"error: {message.replace('{}', prefix)}")


def test_finished_results_are_kept_if_a_later_epoch_fails(prefix, sets, capsys, tmp_path):
    whole = checkpoint.params_path(prefix, 1).read_bytes()
    for epoch, content in ((7, whole), (6, whole[:100])):
        (tmp_path / f"cut-{epoch:04d}.params").write_bytes(content)
    (tmp_path / "cut-symbol.json").write_bytes(checkpoint.symbol_path(prefix).read_bytes())
    model, output = tmp_path / "cut", sets / "out.json"
    assert verification("--data-dir", sets, "--target", "good", "--model", model, "--json", output) == 2
    assert "cut-0006.params: not an MXNet params file" in capsys.readouterr().err
    assert [r["model"] for r in json.loads(output.read_text())["results"]] == [f"{model},7"]


def test_the_engine_is_chosen_and_named(prefix, sets, capsys):
    output = sets / "engine.json"
    arguments = ["--data-dir", sets, "--target", "good", "--model", f"{prefix},2", "--json", output]
    descriptions = {}
    for engine in ("auto", "mxnet"):
        assert verification(*arguments, "--engine", engine) == 0
        descriptions[engine] = capsys.readouterr().out.splitlines()[1]
        assert json.loads(output.read_text())["results"][0]["evaluated_by"] == descriptions[engine]
    assert descriptions["auto"].startswith("OpenVINO ") and descriptions["mxnet"].startswith("MXNet ")
    assert verification(*arguments, "--engine", "mxnet", "--dtype", "bfloat16") == 2
    assert "--dtype bfloat16: mxnet does not compute in it; these do: openvino" in capsys.readouterr().err
