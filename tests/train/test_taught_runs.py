"""Runs with a teacher by the command line: killed and resumed, with a map, without labels, with adapted centres."""

import signal

import numpy as np
import pytest
from small_networks import S, filled, pixels, residual
from small_sets import striped_face
from test_resume import BASE, log, start

from insight import checkpoint, engines
from insight._mxnet import mx
from insight.checkpoint import Checkpoint
from insight.cli import run_command
from insight.faces.embed import load

CASES = {
    "another-length": {"teacher": "six,0", "teacher_weight": 3.0},
    "two-devices": {"teacher": "six,0", "devices": "cpu,cpu", "per_batch_size": 3},
    "alone": {"teacher": "eight,0", "loss_type": "none"},
    "live": {"teacher": "eight,0", "loss_type": "none", "teacher_live": True, "cutoff": 40, "color": 1},
    "features": {
        "network": "tiny_residual",
        "teacher": "stages,0",
        "loss_type": "none",
        "teacher_live": True,
        "teacher_features": 20.0,
        "devices": "cpu,cpu",
        "per_batch_size": 3,
    },
    "adadistill": {"teacher": "eight,0", "adadistill": True, "devices": "cpu,cpu", "per_batch_size": 3},
}


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Networks ``six,0`` and ``eight,0``, named by the lengths of their embeddings, and ``stages,0`` of 8 values."""
    folder = tmp_path_factory.mktemp("teachers")
    for name, size in (("six", 6), ("eight", 8)):
        pooled = S.Pooling(pixels(S.Variable("data", shape=(0, 3, 112, 112))), kernel=(8, 8), stride=(8, 8))
        symbol = S.FullyConnected(pooled, num_hidden=size, name="fc1")
        checkpoint.save(f"{folder}/{name}", 0, Checkpoint(*filled(symbol, size)))
    checkpoint.save(
        f"{folder}/stages", 0, Checkpoint(*filled(residual(8), 8))
    )  # its stage ends with 6 channels of 14x14
    return folder


def arrays(folder):
    with np.load(folder / "model-resume.npz") as file:
        return {name: file[name] for name in file.files if name != "meta"}


def options_of(set_dir, teachers, case):
    options = {**BASE, **CASES[case], "data_dir": str(set_dir), "max_steps": 12, "lr_steps": "8", "lr": 0.02}
    stored = "" if options.get("teacher_live") else str(teachers / f"{case}.npz")
    return {**options, "teacher": f"{teachers}/{options['teacher']}", "teacher_file": stored}


@pytest.mark.parametrize("case", CASES)
def test_killed_and_resumed_is_never_stopped(set_dir, teachers, tmp_path, case):
    options, whole, killed = options_of(set_dir, teachers, case), tmp_path / "whole", tmp_path / "killed"
    done = start(whole, options)
    assert done.returncode == 0, done.stderr
    stopped = start(killed, options, 8, 0.5)
    assert stopped.returncode in (-signal.SIGKILL, 0), stopped.stderr
    assert start(killed, options).returncode == 0
    mine, theirs = arrays(whole), arrays(killed)
    learned = case in ("another-length", "two-devices")
    assert mine.keys() == theirs.keys() and ("momentum/fc7_weight" in mine) == learned
    for name in mine:
        np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)
    assert log(whole) == log(killed)
    for file in whole.glob("model-0*.params"):
        assert file.read_bytes() == (killed / file.name).read_bytes()
    rows = [row for row in log(whole) if row["kind"] == "step"]
    assert rows[-1]["cos_teacher"] > rows[0]["cos_teacher"] or case == "adadistill"
    extra = {"parameter/teacher_map_weight@0", "momentum/teacher_map_weight"}
    assert (extra <= mine.keys()) == (options["teacher"].endswith("six,0"))
    if case == "features":
        assert {"parameter/teacher_stage14x14_weight@0", "momentum/teacher_stage14x14_weight"} <= mine.keys()
        assert rows[-1]["feature_error"] < rows[0]["feature_error"]
    saved = checkpoint.load(str(whole / "model"), 1)
    names = set(saved.symbol.list_arguments()) - {"data", "softmax_label"}
    assert names == set(saved.arg_params) and ("fc7_weight" in names) == (options.get("loss_type") != "none")
    if case == "adadistill":  # centres that the teacher made are near its embeddings
        assert np.linalg.norm(mine["parameter/fc7_weight@0"], axis=1).min() > 0.5


def small(set_dir, prefix, *more):
    words = ["--data-dir", set_dir, "--prefix", prefix, "--network", "y1", "--emb-size", 8, "--per-batch-size", 6]
    return [*map(str, [*words, "--target", "val", "--frequent", 1, "--max-steps", 2, "--lr", 0.01, *more])]


def test_a_run_embeds_the_set_and_the_next_one_uses_that(set_dir, teachers, tmp_path, capfd, monkeypatch):
    teacher = ["--teacher", f"{teachers}/six,0"]
    first = small(set_dir, tmp_path / "a/model", *teacher)
    assert run_command("train-softmax", [*first, "--estimate"]) == 0
    assert "measured: the teacher embeds 24 images, 48 passes, in " in capfd.readouterr().out
    assert not (tmp_path / "a").exists()
    assert run_command("train-softmax", first) == 0
    out, err = capfd.readouterr()
    assert f"taught by {teachers}/six,0 (6 values of image and mirror image), through a linear map weight=14" in out
    assert "\tcos_teacher=" in err and "acc=" in err
    file = tmp_path / "a/model-teacher.npz"
    stored = load(file)
    assert stored.embeddings.shape == (24, 6) and stored.embeddings.dtype == np.float16

    monkeypatch.setattr(engines, "load", None)
    again = small(set_dir, tmp_path / "b/model", *teacher, "--teacher-file", file)
    assert run_command("train-softmax", again) == 0
    by_file = small(set_dir, tmp_path / "c/model", "--teacher", file)
    assert run_command("train-softmax", by_file) == 0
    for name in ("b", "c"):
        assert (tmp_path / f"{name}/model-0001.params").read_bytes() == (tmp_path / "a/model-0001.params").read_bytes()
    assert sorted(path.name for path in (tmp_path / "c").glob("*npz")) == ["model-resume.npz"]
    assert (
        run_command("train-triplet", [*small(set_dir, tmp_path / "d/model", "--teacher", file), "--lr", "0.001"]) == 0
    )
    assert "\tcos_teacher=" in capfd.readouterr().err

    def refused(*words):
        assert run_command("train-softmax", [*words, "--resume", "--max-steps", "3"]) == 2
        return capfd.readouterr().err

    assert "--teacher (none): not what the run of" in refused(*small(set_dir, tmp_path / "b/model"))
    one = refused(*by_file, "--teacher-flips", "one")
    assert "--teacher-flips one (was auto): the run of" in one
    monkeypatch.undo()
    words = ["--model", f"{teachers}/eight,0", "--input", f"{set_dir}/train.rec", "--output", f"{tmp_path}/e.npz"]
    assert run_command("embed", words) == 0
    error = refused(*small(set_dir, tmp_path / "b/model", "--teacher", tmp_path / "e.npz"))
    assert error.splitlines()[-1].startswith(f"error: --teacher {tmp_path}/e.npz: not what the run of")


def test_weight_0_is_a_run_without_a_teacher_to_the_bit(set_dir, teachers, tmp_path):
    taught = ["--teacher", f"{teachers}/eight,0", "--teacher-weight", 0]
    for name, more in (("plain", []), ("taught", taught)):
        assert run_command("train-softmax", small(set_dir, tmp_path / name / "model", *more)) == 0
    both = [(tmp_path / name / "model-0001.params").read_bytes() for name in ("plain", "taught")]
    assert both[0] == both[1]
    figures = [[row for row in log(tmp_path / name) if row["kind"] == "step"] for name in ("plain", "taught")]
    for plain, other in zip(*figures):
        assert -1 <= other.pop("cos_teacher") <= 1
        assert plain == other


def test_a_set_without_labels(teachers, tmp_path, capfd):
    """One identity, and the label of an image that has none."""
    draw = np.random.default_rng(0)
    record = mx.recordio.MXIndexedRecordIO(str(tmp_path / "train.idx"), str(tmp_path / "train.rec"), "w")
    for key in range(12):
        header = mx.recordio.IRHeader(0, float(-(key % 2)), key, 0)
        record.write_idx(key, mx.recordio.pack(header, striped_face(key, draw)))
    record.close()
    (tmp_path / "property").write_text("1,112,112\n")
    words = small(tmp_path, tmp_path / "run/model", "--target", "")
    assert run_command("train-softmax", words) == 2
    assert "holds 1 identity; training needs at least 2, or --loss-type none with a --teacher" in capfd.readouterr().err
    taught = [*words, "--teacher", f"{teachers}/eight,0", "--loss-type", "none"]
    assert run_command("train-softmax", taught) == 0
    rows = [row for row in log(tmp_path / "run") if row["kind"] == "step"]
    assert len(rows) == 2
    for row in rows:
        assert row["loss"] == pytest.approx(14 * (1 - row["cos_teacher"]), abs=1e-4)
    assert checkpoint.load(str(tmp_path / "run/model"), 1).symbol.list_outputs() == ["fc1_output"]
