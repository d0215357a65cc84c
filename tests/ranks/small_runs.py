"""Small training runs, of one process or several, and what they leave behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

RUN = Path(__file__).with_name("rank_run.py")
BASE = {
    "network": "tiny",
    "emb_size": 8,
    "max_steps": 6,
    "target": "val",
    "verbose": 4,
    "save_every": 3,
    "frequent": 2,
    "ckpt": 2,
    "lr": 0.02,
    "color": 1,
    "num_workers": 1,
    "resume": True,
}


def write_plan(folder, options, **more):
    """The plan of a run whose files are in a folder, for ``rank_run.py``; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "plan.json"
    path.write_text(json.dumps({"options": {**options, "prefix": str(folder / "model")}, **more}))
    return path


def run_alone(*plans):
    """Run plans one after the other, in one process."""
    command = [sys.executable, str(RUN), *map(str, plans)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # as the ranks have: more threads add up in another order
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300, env=environment)


def alone(folder, options):
    """One run, in one process."""
    run_alone(write_plan(folder, options))


def state(folder):
    """The arrays of a run's state, by name."""
    with np.load(folder / "model-resume.npz") as arrays:
        return {name: arrays[name] for name in arrays.files if name != "meta"}


def log(folder, *kinds):
    """The log's rows of these kinds, without what a machine measures."""
    rows = [json.loads(line) for line in (folder / "model-log.jsonl").read_text().splitlines()]
    own = ("time", "speed", "wait", "cpu", "path")
    return [{name: value for name, value in row.items() if name not in own} for row in rows if row["kind"] in kinds]


def assert_close(here, there, tolerance):
    """All arrays, to a share of each one's largest number."""
    assert here.keys() == there.keys()
    for name, array in here.items():
        most = np.abs(there[name]).max() or 1.0
        np.testing.assert_allclose(array, there[name], rtol=0, atol=tolerance * most, err_msg=name)
