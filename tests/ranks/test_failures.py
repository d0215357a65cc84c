"""Ranks that die, fail, are late, or were started otherwise: one line that names them, and no process is left."""

import time

import pytest
from test_processes import BASE, assert_close, state

from insight.ranks import watch
from insight.train import resume

OPTIONS = {**BASE, "loss_type": "4", "per_batch_size": 4, "target": "", "max_steps": 9, "save_every": 2}


def lines(out, rank):
    """What a rank printed as errors."""
    return [
        line.partition("error: ")[2] for line in out.splitlines() if line.startswith(f"[{rank}]") and "error: " in line
    ]


@pytest.fixture
def options(striped_set):
    return {**OPTIONS, "data_dir": str(striped_set)}


@pytest.mark.parametrize("victim", [0, 1])
def test_killed_ranks_end_the_others_and_the_run_resumes_to_the_same_bits(train_ranks, options, tmp_path, victim):
    whole = train_ranks(2, tmp_path / "whole", options)
    assert whole.returncode == 0, whole.stdout
    begin = time.monotonic()
    killed = train_ranks(2, tmp_path / "killed", options, events={str(victim): [(5, "kill", 0)]})
    assert killed.returncode != 0
    assert time.monotonic() - begin < 60
    (line,) = lines(killed.stdout, 1 - victim)
    assert line == f"rank {victim} of 2 (localhost) {watch.KILLED}"
    resumed = train_ranks(2, tmp_path / "killed", options)
    assert resumed.returncode == 0, resumed.stdout
    assert "resumed at step 4 of 9" in resumed.stdout
    assert_close(state(tmp_path / "killed"), state(tmp_path / "whole"), 0)


def test_a_signal_to_one_rank_stops_all_at_the_same_step(train_ranks, options, tmp_path):
    """Rank 0 has saved by then, though no state was due."""
    done = train_ranks(2, tmp_path / "run", {**options, "save_every": 0}, events={"1": [(4, "stop", 0)]})
    assert done.returncode != 0
    for rank in (0, 1):
        assert lines(done.stdout, rank) == [
            f"stopped at step 5 of 9; --resume goes on from {tmp_path}/run/model-resume.npz"
        ]
    assert resume.load(str(tmp_path / "run/model")).step == 5


def test_a_full_disk_on_the_rank_that_saves(train_ranks, options, tmp_path):
    done = train_ranks(2, tmp_path / "full", options, events={"0": [(2, "full", 0)]})
    assert done.returncode != 0
    (own,) = lines(done.stdout, 0)
    (other,) = lines(done.stdout, 1)
    assert "File too large" in own
    assert other.startswith("rank 0 of 2 (localhost) failed: ") and "File too large" in other
    assert not any(
        "Traceback" in line for line in done.stdout.splitlines() if line.startswith("[")
    )  # horovodrun has one


@pytest.mark.parametrize(
    "of_rank, message",
    [
        ({"lr": 0.2}, "--lr: rank 0 (localhost) has 0.02, rank 1 (localhost) has 0.2; start all ranks by the same"),
        ({"prefix": "elsewhere/model"}, "--prefix: rank 0 (localhost) has "),
        ({"data_dir": "missing"}, "missing"),
    ],
)
def test_ranks_that_do_not_belong_together_are_refused(train_ranks, options, tmp_path, of_rank, message):
    done = train_ranks(2, tmp_path / "run", options, of_rank={"1": of_rank})
    assert done.returncode != 0
    assert message in lines(done.stdout, 0)[0] and message in lines(done.stdout, 1)[0]
    assert not list((tmp_path / "run").glob("model*"))


def test_a_rank_that_is_late_is_named_and_waited_for(train_ranks, options, tmp_path):
    done = train_ranks(2, tmp_path / "run", options, events={"1": [(2, "sleep", watch.STALLED + 5)]})
    assert done.returncode == 0, done.stdout
    (note,) = [line for line in done.stdout.splitlines() if "note: the ranks have waited" in line]
    assert "rank 1 (localhost) has not come to it; it is at work between two operations" in note
    assert state(tmp_path / "run")
