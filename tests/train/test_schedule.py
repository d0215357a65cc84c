"""Learning rate and run length."""

import pytest

from insight.errors import InsightError
from insight.train.options import TrainOptions
from insight.train.schedule import from_options, total_steps


def test_explicit_steps_are_taken_as_they_are():
    schedule = from_options(TrainOptions(data_dir="d", lr=0.1, lr_steps="3,5", per_batch_size=64), "arcface")
    assert [schedule(step) for step in range(7)] == pytest.approx([0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize(
    "head, batch, expected",
    [
        ("softmax", 512, (40_000, 60_000, 80_000)),
        ("arcface", 512, (100_000, 140_000, 160_000)),
        ("arcface", 128, (400_000, 560_000, 640_000)),
    ],
)
def test_default_steps_scale_with_the_batch(head, batch, expected):
    assert from_options(TrainOptions(data_dir="d", per_batch_size=batch), head).boundaries == expected


def test_runs_end():
    options = TrainOptions(data_dir="d", per_batch_size=512)
    schedule = from_options(options, "arcface")
    assert total_steps(options, schedule, batches_per_epoch=1000) == 200_000
    options.end_epoch = 3
    assert total_steps(options, schedule, 1000) == 3000
    options.max_steps = 7
    assert total_steps(options, schedule, 1000) == 7


@pytest.mark.parametrize("text", ["a,b", "5,3", "5,5", "0,3", "1,,2"])
def test_bad_steps(text):
    with pytest.raises(InsightError, match="--lr-steps"):
        from_options(TrainOptions(data_dir="d", lr_steps=text), "arcface")


@pytest.mark.parametrize(
    "field, value", [("ckpt", 4), ("lr", 0.0), ("mom", 1.0), ("per_batch_size", 0), ("wd", -1.0), ("verbose", 0)]
)
def test_options_refuse(field, value):
    with pytest.raises(InsightError, match=f"--{field.replace('_', '-')} "):
        TrainOptions(data_dir="d", **{field: value})
