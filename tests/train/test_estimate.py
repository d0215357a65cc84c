"""How long a run would take: by a few of its own steps, which leave nothing behind."""

import re

import pytest

from insight import checkpoint
from insight.cli import run_command
from insight.train import estimate as module
from insight.train.estimate import Estimate, estimate
from insight.train.loop import train
from insight.train.train_options import TrainOptions

ESTIMATE = r"estimate: [\d.]+ images/s; (\d+) steps(?: in [\d:]+, (\d+) verifications in [\d:]+)?; [\d:]+, (\d+) s"


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(module, "STEPS", 3)
    monkeypatch.setattr(module, "WARM_UP", 1)


def options(set_dir, prefix, **more):
    base = {"network": "y1", "emb_size": 8, "per_batch_size": 4, "max_steps": 9, "verbose": 4, "target": "val"}
    return TrainOptions(data_dir=str(set_dir), prefix=str(prefix), **{**base, **more})


def test_writes_nothing_and_says_all(set_dir, tmp_path, capfd):
    before = sorted(set_dir.iterdir())
    arguments = ["--data-dir", str(set_dir), "--prefix", str(tmp_path / "deep/er/model"), "--network", "y1"]
    arguments += ["--emb-size", "8", "--per-batch-size", "4", "--target", "val", "--max-steps", "9", "--verbose", "4"]
    assert run_command("train-softmax", [*arguments, "--estimate"]) == 0
    out, err = capfd.readouterr()
    assert err == "" and not list(tmp_path.iterdir()) and sorted(set_dir.iterdir()) == before
    said = [line for line in out.splitlines() if not line.startswith("note: ")]
    assert said[0].startswith("24 images of 3 identities; y1") and said[1].startswith("9 steps of 4 images")
    assert said[2].startswith("predicted memory: ")
    assert re.match(r"measured: 2 steps of 4 images, [\d.]+ to [\d.]+ s each, wait=[\d.]+%(\tcpu=\d+%)?$", said[3])
    assert re.match(r"measured: a verification of val, 12 images, takes [\d:]+$", said[4])
    match = re.fullmatch(ESTIMATE, said[5])
    assert match.group(1, 2) == ("9", "4")  # verified at 0, 4, 8 and 9


def test_the_sum_is_that_of_its_parts(set_dir, tmp_path, monkeypatch):
    now = [0.0]

    def tick():
        now[0] += 0.25
        return now[0]

    monkeypatch.setattr(module.time, "perf_counter", tick)
    found = estimate(options(set_dir, tmp_path / "m"), say=lambda line: None)
    step = 4 / found.images_per_second
    assert step > 0 and found.training == pytest.approx(9 * step)
    assert found.verifications == 4 and found.verifying > 0
    assert found.seconds == found.training + found.verifying


def test_what_is_left_of_a_stopped_run(set_dir, tmp_path):
    prefix = tmp_path / "model"
    train(options(set_dir, prefix, max_steps=5))
    found = estimate(options(set_dir, prefix, resume=True), say=lambda line: None)
    assert (found.steps, found.verifications) == (4, 2)  # of 8 and 9
    said = []
    found = estimate(options(set_dir, prefix, max_steps=5, resume=True), said.append)
    assert found == Estimate(0.0, 0, 0, 0.0, 0.0) and re.fullmatch(ESTIMATE, said[-1])


def test_a_run_after_it_is_the_same(set_dir, tmp_path):
    for name in ("alone", "after"):
        if name == "after":
            estimate(options(set_dir, tmp_path / name, seed=3), say=lambda line: None)
        train(options(set_dir, tmp_path / name, max_steps=2, seed=3, target=""))
    one, other = (checkpoint.params_path(str(tmp_path / name), 1).read_bytes() for name in ("alone", "after"))
    assert one == other


def test_slow_steps_are_few(set_dir, tmp_path, monkeypatch):
    """The time that it takes is bounded, whatever the machine."""
    monkeypatch.setattr(module, "STEPS", 1000)
    monkeypatch.setattr(module, "SECONDS", 0.0)
    monkeypatch.setattr(module, "WARM_UP", 2)
    said = []
    estimate(options(set_dir, tmp_path / "m", target=""), said.append)
    assert any(line.startswith("measured: 1 step of 4 images, ") for line in said)
    assert re.fullmatch(r"estimate: [\d.]+ images/s; 9 steps; [\d:]+, \d+ s", said[-1])  # nothing to verify


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00:00"), (108.2, "0:01:48"), (3725, "1:02:05"), (2 * 86400 + 61, "2 days, 0:01:01")]
)
def test_clock(seconds, text):
    assert module.clock(seconds) == text
