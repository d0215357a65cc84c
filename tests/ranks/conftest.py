"""Real ranks: processes that horovodrun starts and Gloo connects."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import RUN, write_plan
from small_sets import write_striped_set


@pytest.fixture(scope="session")
def horovodrun():
    """``horovodrun(W, command…)`` runs it on W ranks of this machine and returns what it printed; skips without it."""
    program = Path(sys.executable).with_name("horovodrun")
    if importlib.util.find_spec("horovod") is None or not program.exists():
        pytest.skip("Horovod is not installed (the extra `distributed`): nothing of several processes is tested")

    def run(size, *command, timeout=300, **environment):
        ranks = [str(program), "--gloo", "-np", str(size), "-H", f"localhost:{size}"]
        process = subprocess.Popen(
            [*ranks, sys.executable, *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            start_new_session=True,
        )
        try:
            out, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail(f"no end within {timeout} s:\n{process.communicate()[0]}")
        return subprocess.CompletedProcess(command, process.returncode, out)

    return run


@pytest.fixture
def train_ranks(horovodrun):
    """``train_ranks(W, folder, options, of_rank, events)``: a run on W ranks, its files in a folder."""

    def train(size, folder, options, of_rank=None, events=None, stalled=60.0, again="", **more):
        plan = write_plan(folder, options, of_rank=of_rank or {}, events=events or {}, stalled=stalled, again=again)
        return horovodrun(size, RUN, plan, **more)

    return train


@pytest.fixture(scope="session")
def striped_set(tmp_path_factory):
    """Three identities, eight images each, and a verification set ``val``."""
    return write_striped_set(tmp_path_factory.mktemp("set"))
