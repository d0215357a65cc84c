"""Whole runs with triplets: command, logs, resume after SIGKILL, step 0 as a checkpoint, guards."""

import ast
import json
import random
import re
import signal

import numpy as np
import pytest
from small_sets import striped_face, write_set
from test_resume import BASE, log, start

from insight import checkpoint
from insight.cli import build_parser, run_command
from insight.errors import InsightError
from insight.objectives import separation
from insight.runs.logfiles import read_log
from insight.train import estimate, resume
from insight.train.loop import Run, train
from insight.train.stop import Stopped
from insight.train.train_options import TrainOptions

SMALL = {"loss_type": "triplet", "lr": 0.02, "images_per_identity": 3, "triplet_alpha": 1.0, "max_steps": 14}
CASES = {
    "batch": {"classification_weight": 0.5},
    "batch-two-devices": {"devices": "cpu,cpu", "per_batch_size": 4, "negatives": "violating"},
    "bag": {"loss_type": "triplet_bag", "images_per_identity": 8, "triplet_bag_size": 24},
}


def arrays(folder):
    with np.load(folder / "model-resume.npz") as file:
        return {name: file[name] for name in file.files if name != "meta"}


def rows(folder, kind):
    lines = [json.loads(line) for line in (folder / "model-log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def untimed(folder):
    """Rows of mined bags and histograms, without times."""
    return [
        {key: value for key, value in row.items() if key not in ("time", "seconds")}
        for kind in ("mined", "histogram")
        for row in rows(folder, kind)
    ]


@pytest.mark.parametrize("case", CASES)
def test_killed_and_resumed_is_never_stopped(set_dir, tmp_path, case):
    options = {**BASE, "lr_steps": "", **SMALL, **CASES[case], "data_dir": str(set_dir)}
    done = start(tmp_path / "whole", options)
    assert done.returncode == 0, done.stderr
    draw = random.Random(case)
    folder = tmp_path / "killed"
    killed = start(folder, options, draw.randrange(1, 14), draw.uniform(0, 1.5))
    assert killed.returncode in (-signal.SIGKILL, 0), killed.stderr
    assert start(folder, options).returncode == 0
    mine, theirs = arrays(tmp_path / "whole"), arrays(folder)
    assert mine.keys() == theirs.keys() and ("parameter/fc7_weight@0" in mine) == (case == "batch")
    for name in mine:
        np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)
    assert log(tmp_path / "whole") == log(folder)
    assert untimed(tmp_path / "whole") == untimed(folder)
    states = [resume.load(str(f / "model")).meta for f in (tmp_path / "whole", folder)]
    assert states[0]["sampler"] == states[1]["sampler"] and states[0]["model"] == states[1]["model"]
    assert bool(states[0]["sampler"]) == bool(rows(folder, "mined")) == (case == "bag")


@pytest.fixture(scope="module")
def trained(set_dir, tmp_path_factory):
    """(set, prefix) of one step of softmax: a network that does not separate the set yet."""
    prefix = tmp_path_factory.mktemp("softmax") / "model"
    options = {"network": "y1", "emb_size": 16, "per_batch_size": 8, "max_steps": 1, "target": "", "loss_type": "0"}
    train(TrainOptions(data_dir=str(set_dir), prefix=str(prefix), lr=0.01, **options))
    return set_dir, prefix


def triplet(trained, folder, *more, mining="batch", steps=6):
    words = ["--data-dir", str(trained[0]), "--pretrained", f"{trained[1]},1", "--prefix", str(folder / "model")]
    words += ["--network", "y1", "--emb-size", "16", "--per-batch-size", "9", "--lr", "0.001", "--mom", "0"]
    words += ["--images-per-identity", "4", "--target", "val", "--frequent", "2", "--max-steps", str(steps)]
    return run_command("train-triplet", [*words, "--mining", mining, "--triplet-alpha", "1", *map(str, more)])


def test_the_command_mines_in_the_batch(trained, tmp_path, capfd):
    """Lines, figures and checkpoints of a run; step 0 is one of them, and the best if no later one is better."""
    assert triplet(trained, tmp_path, "--verbose", 3, "--ckpt", 2) == 0
    out, err = capfd.readouterr()
    assert "24 images of 3 identities; y1, triplet negatives=semi-hard triplet_alpha=1 " in out
    assert "6 steps of 9 images (6.0 epochs); lr 0.001, constant" in out
    line = r"^INFO:root:Epoch\[1\] Batch \[1\]\tSpeed: [\d.]+ samples/sec\tlossvalue=[\d.]+\tpairs=12\ttriplets="
    assert re.search(line, err, re.M), err
    steps = rows(tmp_path, "step")
    assert [row["pairs"] for row in steps] == [12] * 3
    names = {"loss", "pairs", "triplets", "active", "d2_ap", "d2_an", "xnorm"}
    assert all(names <= row.keys() and row["d2_ap"] < row["d2_an"] for row in steps)
    assert [(row["step"], row["number"]) for row in rows(tmp_path, "saved")] == [(0, 1), (3, 2), (6, 3)]
    before, after = (checkpoint.load(str(p), 1) for p in (trained[1], tmp_path / "model"))
    assert after.symbol.list_outputs() == ["fc1_output"]
    for name, array in after.arg_params.items():
        np.testing.assert_array_equal(array.asnumpy(), before.arg_params[name].asnumpy())
    histograms = rows(tmp_path, "histogram")
    assert [(row["step"], row["name"]) for row in histograms] == [
        (step, name) for step in (3, 6) for name in ("positives", "negatives", "gaps")
    ]
    in_all = sum(row["triplets"] * 2 for row in steps)
    assert sum(sum(row["counts"]) for row in histograms if row["name"] == "gaps") == in_all
    gaps = next(np.array(row["counts"]) for row in histograms if row["name"] == "gaps")
    assert gaps[80:100].sum() == gaps.sum()  # 0 to 1: the semi-hard band
    best = read_log(tmp_path / "model-log.jsonl").best()
    line = next(line for line in out.splitlines() if line.startswith("best: "))
    assert line.startswith(f"best: number {best.number}, step {best.step}, val {best.accuracies['val']:.5f}")


def test_the_command_mines_in_bags(trained, tmp_path, capfd):
    assert triplet(trained, tmp_path, "--per-batch-size", 10, "--loss-type", 2, "--ckpt", 1, mining="bag") == 0
    out, err = capfd.readouterr()
    assert "note: --per-batch-size 10: 9 are used, a multiple of 3" in out
    assert "note: --triplet-bag-size 3600: 9 are used, whole batches of 9, of the 12 that the set has" in out
    found = re.findall(
        r"^eval 9 images\.\. 0\ntriplet time stat \[.*\]\nfound triplets (\d+)\nseq len (\d+)$", out, re.M
    )
    mined = rows(tmp_path, "mined")
    assert [(int(a), int(b)) for a, b in found] == [(row["triplets"], row["queued"]) for row in mined]
    assert mined[0]["step"] == 0 and mined[0]["images"] == 9
    assert "lossvalue=" in err and "triplet_distance=angle" in out
    assert rows(tmp_path, "start")[0]["options"]["sampler"] == "bag"


def test_no_triplets_and_no_pairs(trained, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(separation, "EMPTY_STEPS", 3)
    assert triplet(trained, tmp_path / "a", "--triplet-alpha", 0, "--target", "") == 2
    assert "error: step 3: no triplets in 3 batches in a row; " in capfd.readouterr().err
    assert triplet(trained, tmp_path / "b", "--triplet-alpha", 0, mining="bag") == 2
    assert "10 bags in a row gave no batch of triplets" in capfd.readouterr().err
    singles = tmp_path / "singles"
    write_set(singles, [[striped_face(i, np.random.default_rng(i))] for i in range(12)])
    for mining in ("batch", "bag"):
        assert triplet((singles, trained[1]), tmp_path / mining, mining=mining) == 2
        assert "error: no identity of the set has two images, which triplets need" in capfd.readouterr().err
        assert not (tmp_path / mining).exists()


def test_a_signal_while_a_bag_is_embedded_loses_nothing(trained, tmp_path, monkeypatch):
    options = {"network": "y1", "emb_size": 16, "per_batch_size": 9, "target": "", "lr": 0.01, "max_steps": 30}
    options.update(loss_type="triplet_bag", triplet_alpha=1.0, save_every=0, images_per_identity=3)
    options.update(data_dir=str(trained[0]), prefix=str(tmp_path / "model"), pretrained=f"{trained[1]},1")
    leave = Run._leave

    def late(self):
        self.stop.signal = signal.SIGTERM if self.step else 0
        leave(self)

    monkeypatch.setattr(Run, "_leave", late)
    with pytest.raises(Stopped, match=r"stopped at step (\d+) of 30"):
        train(TrainOptions(**options))
    monkeypatch.undo()
    step = resume.load(options["prefix"]).step
    assert 0 < step < 30
    options["max_steps"] = step + 2
    train(TrainOptions(**options, resume=True))
    options["prefix"] = str(tmp_path / "whole")
    train(TrainOptions(**options))
    for a, b in zip(*(checkpoint.load(str(tmp_path / name), 1).arg_params.items() for name in ("model", "whole"))):
        np.testing.assert_array_equal(a[1].asnumpy(), b[1].asnumpy(), err_msg=a[0])


def test_flags_are_those_of_insightface():
    """Names and defaults of src/train_triplet.py, deepinsight/insightface@9fc3cc9c; no margin's loss type."""
    defaults = {action.dest: action.default for action in build_parser("train-triplet")._actions}
    words = """
        data_dir='' prefix='../model/model' pretrained='' ckpt=3 loss_type=1 verbose=2000 max_steps=0 end_epoch=100000
        network='r50' lr=0.1 lr_steps='' wd=0.0005 mom=0.9 emb_size=512 per_batch_size=128 images_per_identity=5
        triplet_bag_size=3600 triplet_alpha=0.3 triplet_max_ap=0.0 rand_mirror=1 cutoff=0 color=0 images_filter=0
        target='lfw,cfp_fp,agedb_30'
    """
    want = {name: ast.literal_eval(value) for name, value in (word.split("=") for word in words.split())}
    assert {name: defaults[name] for name in want} == want
    assert "sampler" not in defaults and "triplet_distance" not in defaults
    softmax = {action.dest: action.default for action in build_parser("train-softmax")._actions}
    assert softmax["max_fall"] == 0 and softmax["ckpt"] == 1 and softmax["loss_type"] == "4"


def test_frozen_steps_need_weights_that_learn(set_dir, tmp_path):
    options = {"data_dir": str(set_dir), "prefix": str(tmp_path / "m"), "loss_type": "triplet", "network": "y1"}
    options.update(images_per_identity=4, per_batch_size=8, freeze_backbone_steps=2)
    with pytest.raises(InsightError, match="--freeze-backbone-steps 2: triplet has no weights beside the network's"):
        train(TrainOptions(**options))


def test_an_estimate_counts_the_bags(trained, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(estimate, "STEPS", 4)
    assert triplet(trained, tmp_path, "--estimate", "--target", "", mining="bag", steps=1000) == 0
    out = capfd.readouterr().out
    assert re.search(r"^measured: bags take [\d.]+ s a step", out, re.M)
    rate = float(re.search(r"^estimate: ([\d.]+) images/s", out, re.M).group(1))
    assert 9000 / rate == pytest.approx(float(re.search(r"(\d+) s$", out, re.M).group(1)), rel=0.1)
    assert not (tmp_path / "model-log.jsonl").exists()
