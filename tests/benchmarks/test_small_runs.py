"""Benchmarks that use the trainer's own parts run to their end, on sizes that measure nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STEP = ["--batch-size", "2", "--classes", "70", "--rounds", "1"]
HEAD = [*STEP, "--emb-size", "8"]
RUNS = {
    "train_step": ("", STEP, ["ours", "stock"]),
    "train_step forms": ("train_step", [*STEP, "--forms"], ["fastest"]),
    "train_step teacher": ("train_step", [*STEP, "--teacher"], ["taught", "teacher alone", "adadistill"]),
    "train_step levers": ("train_step", [*STEP, "--levers"], ["clip-norm", "ema", "interclass-filter"]),
    "train_step attention": ("train_step", [*STEP, "--attention"], ["se", "eca"]),
    "head": ("", HEAD, ["stock"]),
    "head margins": ("head", [*HEAD, "--margins", "softmax,curricularface"], ["softmax", "curricularface"]),
    "head centres": ("head", [*HEAD, "--centres", "3"], ["3 centres"]),
    "head rate": ("head", [*HEAD, "--classes", "400", "--sample-rate", "0.5"], ["0.5"]),
    "head ranks": ("head", [*HEAD, "--ranks", "2"], ["2 ranks"]),
    "triplet picking": ("triplet", ["--picking", "--emb-size", "8", "--rounds", "1"], ["3600"]),
    "idx": ("", ["--lines", "1000", "--rounds", "1"], []),
    "merge_memory": ("", ["--identities", "50", "--dimension", "8"], ["MB"]),
}


@pytest.mark.parametrize("name", RUNS)
def test_runs_to_its_end(name):
    script, options, shown = RUNS[name]
    command = [sys.executable, str(ROOT / f"benchmarks/{script or name}.py"), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\d\.\d", done.stdout)
    assert [word for word in shown if word not in done.stdout] == []
