"""Each margin with a state, random numbers or figures of its own in whole runs, by the command line."""

import json

import numpy as np
import pytest

from insight.cli import run_command
from insight.export.source import loss
from insight.runs import lineage

RUNS = {
    "adaface": (
        ["--margin-h", "0.5"],
        "adaface s=64 m=0.4 h=0.5 t_alpha=0.01 ada_init=batch",
        "length_mean length_std",
    ),
    "magface": ([], "magface s=64 l_a=1.8 u_a=8.8 l_margin=0.45 u_margin=0.8 lambda_g=12.9849", "length margin"),
    "ElasticArcFacePlus": ([], "elasticface_arc_plus s=64 m=0.5 std=0.0175", ""),
    "curricularface": (["--straight-through"], "curricularface s=64 m=0.5 t_alpha=0.01 straight_through", "t"),
    "li_arcface": (["--margin-m", "0.45"], "li_arcface s=64 m=0.45", ""),
}
OWN_STATE = {"adaface": ["mean", "std"], "curricularface": ["t"]}


def run(prefix, set_dir, name, options, steps, *more):
    words = ["--data-dir", str(set_dir), "--prefix", str(prefix), "--network", "y1", "--emb-size", "16", *options]
    words += ["--per-batch-size", "4", "--devices", "cpu,cpu", "--target", "", "--frequent", "1", "--lr", "0.01"]
    words += ["--loss-type", name, "--lr-steps", "3", "--max-steps", str(steps), *more]
    assert run_command("train-softmax", words) == 0


def state(prefix):
    with np.load(f"{prefix}-resume.npz") as file:
        return {name: file[name] for name in file.files if name != "meta"}


def steps(prefix):
    rows = [json.loads(line) for line in open(f"{prefix}-log.jsonl", encoding="utf-8")]
    return [
        {k: v for k, v in row.items() if k not in ("time", "speed", "wait", "cpu")}
        for row in rows
        if row["kind"] == "step"
    ]


@pytest.mark.parametrize("name", RUNS)
def test_trains_logs_and_resumes_to_the_same_bits(name, set_dir, tmp_path, capfd):
    options, described, figures = RUNS[name]
    whole, halves = tmp_path / "whole/model", tmp_path / "halves/model"
    run(whole, set_dir, name, options, 4)
    out, err = capfd.readouterr()
    assert f"; y1, {described}, float32 on cpu(0),cpu(1)" in out
    rows = steps(whole)
    for figure in figures.split():
        assert all(np.isfinite(row[figure]) for row in rows) and f"\t{figure}=" in err
    assert set(figures.split()) == set(rows[0]) - {"kind", "step", "epoch", "loss", "acc", "acc_free", "lr"}
    assert loss(lineage.stages(str(whole), 1)[-1].options) == described
    run(halves, set_dir, name, options, 2)
    run(halves, set_dir, name, options, 4, "--resume")
    mine, theirs = state(whole), state(halves)
    assert mine.keys() == theirs.keys()
    assert sorted(key for key in mine if key.startswith("objective/")) == [
        f"objective/margin/{part}" for part in OWN_STATE.get(name, [])
    ]
    for key in mine:
        np.testing.assert_array_equal(mine[key], theirs[key], err_msg=key)
    assert steps(halves) == rows
