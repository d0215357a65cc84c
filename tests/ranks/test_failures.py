"""Ranks that fail, are late, or were started otherwise: one line that names them, and no process is left."""

import pytest
from small_runs import BASE, state

from insight.train import resume

LIMIT = 60  # seconds


def lines(out, rank):
    """What a rank printed as errors."""
    return [
        line.partition("error: ")[2] for line in out.splitlines() if line.startswith(f"[{rank}]") and "error: " in line
    ]


@pytest.fixture
def options(striped_set):
    more = {"loss_type": "4", "per_batch_size": 4, "target": "", "max_steps": 9, "save_every": 2}
    return {**BASE, **more, "data_dir": str(striped_set)}


def test_a_signal_to_one_rank_stops_all_at_the_same_step(train_ranks, options, tmp_path):
    """Rank 0 has saved by then, though no state was due. Before, a rank that is late is named and waited for."""
    events = {"1": [(2, "sleep", 3), (4, "stop", 0)]}
    done = train_ranks(2, tmp_path / "run", {**options, "save_every": 0}, events=events, stalled=1.5, timeout=LIMIT)
    assert done.returncode != 0
    for rank in (0, 1):
        assert lines(done.stdout, rank) == [
            f"stopped at step 5 of 9; --resume goes on from {tmp_path}/run/model-resume.npz"
        ]
    assert resume.load(str(tmp_path / "run/model")).step == 5
    (note,) = [line for line in done.stdout.splitlines() if "note: the ranks have waited" in line]
    assert "rank 1 (localhost) has not come to it; it is at work between two operations" in note


def test_a_gradient_of_one_rank_that_is_not_finite_stops_all_before_the_update(train_ranks, options, tmp_path):
    done = train_ranks(2, tmp_path / "run", options, events={"1": [(4, "nan", 0)]}, timeout=LIMIT)
    assert done.returncode != 0
    for rank in (0, 1):
        (line,) = lines(done.stdout, rank)
        assert line.startswith("step 5: the gradient is not finite any more, and the step was not taken")
    assert len((tmp_path / "run/model-nonfinite-5.tsv").read_text().splitlines()) == 1 + 2 * 4
    assert resume.load(str(tmp_path / "run/model")).step == 4


def test_a_full_disk_on_the_rank_that_saves(train_ranks, options, tmp_path):
    full = {"0": [(3, "full", 1000)]}  # the log is larger, and so is the state, of which that of step 2 stays
    done = train_ranks(2, tmp_path / "full", options, events=full, timeout=LIMIT)
    assert done.returncode != 0
    (own,), (other,) = lines(done.stdout, 0), lines(done.stdout, 1)
    assert "File too large" in own and "File too large" in other
    assert other.startswith("rank 0")
    ranks_lines = [line for line in done.stdout.splitlines() if line.startswith("[")]  # horovodrun has a traceback
    assert not any("Traceback" in line for line in ranks_lines)
    assert resume.load(str(tmp_path / "full/model")).step == 2
    assert state(tmp_path / "full")


@pytest.mark.parametrize(
    "of_rank, message",
    [
        ({"lr": 0.2}, "--lr: rank 0 (localhost) has 0.02, rank 1 (localhost) has 0.2; start all ranks by the same"),
        ({"data_dir": "missing"}, "missing"),
    ],
)
def test_ranks_that_do_not_belong_together_are_refused(train_ranks, options, tmp_path, of_rank, message):
    done = train_ranks(2, tmp_path / "run", options, of_rank={"1": of_rank}, timeout=LIMIT)
    assert done.returncode != 0
    assert message in lines(done.stdout, 0)[0] and message in lines(done.stdout, 1)[0]
    assert not list((tmp_path / "run").glob("model*"))
