"""Margins with a state, random numbers or figures of their own in whole runs, by the command line, on two devices."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_resume import log

from insight.export.source import loss
from insight.runs import lineage

RUNS = {
    "adaface": (
        ["--margin-h", "0.5"],
        "adaface s=64 m=0.4 h=0.5 t_alpha=0.01 ada_init=batch",
        "length_mean length_std",
    ),
    "magface": (
        [],
        "magface s=64 l_a=1.27279 u_a=6.22254 l_margin=0.45 u_margin=0.8 lambda_g=9.18169",
        "length margin",
    ),
    "ElasticArcFacePlus": ([], "elasticface_arc_plus s=64 m=0.5 std=0.0175", ""),
    "curricularface": (["--straight-through"], "curricularface s=64 m=0.5 t_alpha=0.01 straight_through", "t"),
    "li_arcface": (["--margin-m", "0.45"], "li_arcface s=64 m=0.45", ""),
}
OWN_STATE = {"adaface": ["mean", "std"], "curricularface": ["t"]}
STEPS = {"whole": (6, ""), "half": (3, ""), "halves": (6, "--resume")}  # the last goes on where "half" was
MARK = "-- next run --"
# One process for all runs; killed_run brings the small network.
SCRIPT = f"""
import json, sys
import killed_run
from insight.cli import main
for words in json.loads(sys.argv[1]):
    for stream in (sys.stdout, sys.stderr):
        print("{MARK}", file=stream, flush=True)
    if main(["train-softmax", *words]):
        sys.exit(1)
"""


@pytest.fixture(scope="module")
def runs(set_dir, tmp_path_factory):
    """(folder, output by margin and kind of run)."""
    folder, kinds, words = tmp_path_factory.mktemp("runs"), [], []
    for name, (options, _, _) in RUNS.items():
        for kind, (steps, more) in STEPS.items():
            prefix = folder / f"{name}-{kind.replace('halves', 'half')}" / "model"
            given = ["--data-dir", str(set_dir), "--prefix", str(prefix), "--network", "tiny", "--emb-size", "8"]
            given += [
                "--per-batch-size",
                "4",
                "--devices",
                "cpu,cpu",
                "--target",
                "",
                "--frequent",
                "1",
                "--lr",
                "0.01",
            ]
            given += ["--loss-type", name, "--lr-steps", "4", "--max-steps", str(steps), *options, *more.split()]
            kinds.append((name, kind))
            words.append(given)
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", SCRIPT, json.dumps(words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    outputs = zip(*(text.split(MARK)[1:] for text in (done.stdout, done.stderr)))
    return folder, dict(zip(kinds, map("".join, outputs)))


def state(folder):
    with np.load(folder / "model-resume.npz") as file:
        return {name: file[name] for name in file.files if name != "meta"}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_says_what_it_trains_with_and_logs_the_margin_s_figures(name, runs):
    folder, output = runs
    _, described, figures = RUNS[name]
    assert f"; tiny, {described}, float32 on cpu(0),cpu(1)" in output[name, "whole"]
    rows = [row for row in log(folder / f"{name}-whole") if row["kind"] == "step"]
    assert len(rows) == 6
    for figure in figures.split():
        assert all(np.isfinite(row[figure]) for row in rows)
        assert re.search(rf"\t{figure}=-?\d", output[name, "whole"])
    assert set(figures.split()) == set(rows[0]) - {"kind", "step", "epoch", "loss", "acc", "acc_free", "lr"}
    assert loss(lineage.stages(str(folder / f"{name}-whole/model"), 1)[-1].options) == described


@pytest.mark.parametrize("name", RUNS)
def test_a_resumed_run_is_never_stopped(name, runs):
    folder, _ = runs
    whole, halves = folder / f"{name}-whole", folder / f"{name}-half"
    mine, theirs = state(whole), state(halves)
    own = [f"objective/margin/{part}" for part in OWN_STATE.get(name, [])]
    assert mine.keys() == theirs.keys() and [key for key in mine if key.startswith("objective/")] == own
    for key in mine:
        np.testing.assert_array_equal(mine[key], theirs[key], err_msg=key)
    steps = [[row for row in log(run) if row["kind"] == "step"] for run in (whole, halves)]
    assert steps[0] == steps[1]
