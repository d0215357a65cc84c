"""Two and four real processes compute what one does."""

from pathlib import Path

import pytest
from small_runs import BASE, RUN, alone, assert_close, log, run_alone, state, write_plan

from insight._mxnet import mx
from insight.ranks import watch

__all__ = ["BASE", "alone", "assert_close", "log", "state"]
# Runs of 4 to 12 images a step. y1 is a real network; a softmax, a margin, one with a state, and mined triplets.
OF_TWO = {
    "y1": {"network": "y1", "loss_type": "4", "per_batch_size": 2, "target": "", "max_steps": 2},
    "softmax": {"loss_type": "0", "per_batch_size": 4, "ema": 0.9, "freeze_backbone_steps": 2},
    "arcface": {
        **{"loss_type": "4", "per_batch_size": 4, "target": ""},
        **{"sampler": "blocks", "block_images": 2, "buffer_images": 12},  # two buffers an epoch, three batches
    },
    "curricular": {"loss_type": "curricularface", "per_batch_size": 4, "clip_norm": 0.5},
    "triplet": {
        **{"loss_type": "triplet", "per_batch_size": 6, "max_fall": 0.0},
        **{"images_per_identity": 3, "people_per_batch": 2, "negatives": "violating"},
    },
    "bag": {
        **{"loss_type": "triplet_bag", "per_batch_size": 3, "max_fall": 0.0, "max_steps": 4, "target": "", "lr": 1e-3},
        **{"triplet_bag_size": 18, "images_per_identity": 6, "triplet_alpha": 1.0},
    },
}
OF_FOUR = {"loss_type": "curricularface", "per_batch_size": 3, "target": ""}
TURN = 4  # the step after which four ranks go on as two


def params(folder, number):
    return {name: a.asnumpy() for name, a in mx.nd.load(str(folder / f"model-{number:04d}.params")).items()}


def test_every_operation(horovodrun):
    done = horovodrun(4, Path(__file__).with_name("exchange_rank.py"))
    assert done.returncode == 0, done.stdout
    assert "4 ranks agree" in done.stdout


@pytest.mark.parametrize("size", [2, 3, 4])
def test_heads_of_which_a_rank_draws_no_class(horovodrun, size):
    done = horovodrun(size, Path(__file__).with_name("head_rank.py"))
    assert done.returncode == 0, done.stdout
    assert f"6 heads on {size} ranks agree" in done.stdout


@pytest.fixture(scope="module")
def runs(horovodrun, striped_set, tmp_path_factory):
    """The folder of all runs: ``one/NAME`` in one process with as many devices, ``two/NAME`` and ``four`` on ranks."""
    folder = tmp_path_factory.mktemp("runs")
    common = {**BASE, "data_dir": str(striped_set)}

    def plans(where, devices):
        named = OF_TWO.items()
        return [write_plan(folder / where / n, {**common, **more, "devices": devices}) for n, more in named]

    four = {**common, **OF_FOUR, "devices": "cpu,cpu,cpu,cpu"}
    run_alone(
        *plans("one", "cpu,cpu"),
        write_plan(folder / "one/four", {**four, "max_steps": TURN}),
        write_plan(folder / "one/pairs", four, events={"0": [(TURN, "pairs", 0)]}),
    )
    done = horovodrun(2, RUN, *plans("two", "cpu"))
    assert done.returncode == 0, done.stdout
    done = horovodrun(4, RUN, write_plan(folder / "four", {**four, "devices": "cpu", "max_steps": TURN}))
    assert done.returncode == 0, done.stdout
    return folder


@pytest.mark.parametrize("name", [name for name in OF_TWO if name != "bag"])
def test_two_ranks_are_one_process_with_two_devices(runs, name):
    """Images, dropout and local batch norm are the same, and two numbers are added up: every bit is the same."""
    one, two = runs / "one" / name, runs / "two" / name
    assert any(array.endswith("_moving_mean@1") for array in state(one))
    assert_close(state(two), state(one), 0)
    kinds = ("step", "verification", "saved", "histogram")
    assert log(two, *kinds) == log(one, *kinds)
    assert_close(params(two, 1), params(one, 1), 1e-6)


def test_triplets_are_mined_over_all_ranks(runs):
    """Of a batch that no rank has as a whole."""
    assert any(row.get("figures", row).get("triplets", 0) for row in log(runs / "two/triplet", "step"))


def test_a_bag_is_embedded_in_shares(runs):
    assert_close(state(runs / "two/bag"), state(runs / "one/bag"), 1e-5)


def test_four_ranks_are_four_devices_and_resume_on_two(runs, train_ranks, striped_set):
    """To the bit: four ranks add up in the order of the devices, and two with two devices each in pairs."""
    assert_close(state(runs / "four"), state(runs / "one/four"), 0)
    options = {**BASE, **OF_FOUR, "data_dir": str(striped_set), "devices": "cpu,cpu"}
    done = train_ranks(2, runs / "four", options)
    assert done.returncode == 0 and f"resumed at step {TURN} of 6" in done.stdout, done.stdout
    assert_close(state(runs / "four"), state(runs / "one/pairs"), 0)


def test_killed_ranks_end_the_others_and_the_run_resumes_to_the_same_bits(runs, train_ranks, striped_set, tmp_path):
    options = {**BASE, **OF_TWO["arcface"], "data_dir": str(striped_set), "devices": "cpu"}
    for victim, step in ((1, 4), (0, 5)):
        done = train_ranks(2, tmp_path, options, events={str(victim): [(step, "kill", 0)]}, timeout=60)
        assert done.returncode != 0
        (line,) = [line for line in done.stdout.splitlines() if "error: " in line and line.startswith("[")]
        assert line.endswith(f"error: rank {victim} of 2 (localhost) {watch.KILLED}")
    done = train_ranks(2, tmp_path, options)
    assert done.returncode == 0 and "resumed at step 4 of 6" in done.stdout, done.stdout  # verified and saved there
    assert_close(state(tmp_path), state(runs / "two/arcface"), 0)
