"""A margin with a state and an objective that is no classifier (``other_components.py``) through whole runs."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_resume import BASE, log, start

from insight import checkpoint
from insight.cli import run_command
from insight.export.source import loss
from insight.runs import lineage

MODULE = "other_components"
CASES = {
    "margin": {"loss_type": "leaning", "lean": 0.3},
    "margin-two-devices": {"loss_type": "leaning", "devices": "cpu,cpu", "per_batch_size": 3},
    "objective": {"loss_type": "gather", "pull": 2.0, "lr": 0.02},
    "objective-two-devices": {"loss_type": "gather", "lr": 0.02, "devices": "cpu,cpu", "per_batch_size": 3},
}


@pytest.fixture(autouse=True)
def imported(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("KILLED_RUN_IMPORTS", MODULE)


def arrays(folder):
    with np.load(folder / "model-resume.npz") as file:
        return {name: file[name] for name in file.files if name != "meta"}


@pytest.mark.parametrize("case", CASES)
def test_killed_and_resumed_is_never_stopped(set_dir, tmp_path, case):
    options = {**BASE, **CASES[case], "data_dir": str(set_dir), "max_steps": 12, "lr_steps": "8"}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = start(whole, options)
    assert done.returncode == 0, done.stderr
    stopped = start(killed, options, 8, 0.5)
    assert stopped.returncode in (-signal.SIGKILL, 0), stopped.stderr
    assert start(killed, options).returncode == 0
    mine, theirs = arrays(whole), arrays(killed)
    state = "objective/margin/t" if case.startswith("margin") else "objective/length"
    assert mine.keys() == theirs.keys() and state in mine and mine[state].any()
    for name in mine:
        np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)
    assert log(whole) == log(killed)


def command(*arguments):
    """A command in a process in which the module is imported."""
    script = f"import sys, {MODULE}; from insight.cli import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=240)


def test_an_objective_by_the_command_line(set_dir, tmp_path):
    """It trains, logs its figures, verifies, saves what loads anywhere, and is refused what does nothing with it."""
    usage = command("train-softmax", "--help").stdout
    assert "--lean X" in usage and "--pull X" in usage and "gather: weight of the distance" in usage
    prefix = tmp_path / "model"
    small = ["--network", "y1", "--emb-size", "8", "--per-batch-size", "8", "--target", "val", "--frequent", "4"]
    words = [*small, "--data-dir", str(set_dir), "--prefix", str(prefix), "--loss-type", "gather", "--max-steps", "12"]
    done = command("train-softmax", *words, "--pull", "3", "--lr", "0.02", "--rand-mirror", "0")
    assert done.returncode == 0, done.stderr
    assert "24 images of 3 identities; y1, gather pull=3, float32 on cpu(0)" in done.stdout
    assert "classes" not in next(line for line in done.stdout.splitlines() if line.startswith("predicted memory"))
    assert "\tapart=" in done.stderr and "acc=" not in done.stderr
    rows = [row for row in log(tmp_path) if row["kind"] == "step"]
    assert len(rows) == 3 and all({"loss", "apart", "peers", "length", "lr"} <= row.keys() for row in rows)
    assert all(row["peers"] == pytest.approx(1.9, abs=0.8) for row in rows)
    assert rows[-1]["apart"] < rows[0]["apart"]
    held = checkpoint.load(str(prefix), 1)
    assert held.symbol.list_outputs() == ["fc1_output"] and not [name for name in held.arg_params if "fc7" in name]
    assert run_command("verification", ["--data-dir", str(set_dir), "--model", f"{prefix},1", "--target", "val"]) == 0
    assert loss(lineage.stages(str(prefix), 1)[-1].options) == "gather"
    refused = command("train-softmax", *words, "--margin-m", "0.3")
    assert refused.returncode == 2
    assert "--margin-m 0.3: does nothing with --loss-type gather, which uses --pull" in refused.stderr
    refused = command("train-softmax", *words, "--lean", "0.3")
    assert refused.returncode == 2 and "--lean 0.3: does nothing with --loss-type gather" in refused.stderr
    words[words.index("gather")] = "4"
    refused = command("train-softmax", *words, "--pull", "2")
    assert refused.returncode == 2 and "--pull 2: does nothing with --loss-type arcface" in refused.stderr


def test_names_that_select_nothing(set_dir, tmp_path, capfd):
    for name, words in (
        (
            "triplet-like",
            "no margin or objective has that name; margins: adaface, .*; objectives: classification",
        ),
        ("classification", "name its margin instead: adaface, arcface, "),
    ):
        given = ["--data-dir", str(set_dir), "--prefix", str(tmp_path / "model"), "--per-batch-size", "8"]
        assert run_command("train-softmax", [*given, "--loss-type", name]) == 2
        error = capfd.readouterr().err
        assert re.search(f"^error: --loss-type {name}: {words}", error), error
