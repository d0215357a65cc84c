"""Learning rate and run length."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insight.errors import InsightError
from insight.margins import margins
from insight.objectives.classification import Classification
from insight.objectives.triplet import Triplet
from insight.train.schedule import from_options
from insight.train.train_options import TrainOptions


def schedule(head="arcface", batch=512, per_epoch=1000, **options):
    kind = margins.get(head)
    own = {option.name: options[option.name] for option in kind.OPTIONS if option.name in options}
    objective = Classification(kind(**own), 2, 2)
    return from_options(TrainOptions(data_dir="d", **options), objective, batch, per_epoch)


def test_explicit_steps_are_taken_as_they_are():
    rates = schedule(lr=0.1, lr_steps="3,5", batch=64)
    assert schedule(lr_steps=" 3, 5,", batch=64).boundaries == rates.boundaries == (3, 5)
    assert [rates(step) for step in range(7)] == pytest.approx([0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert rates.total_steps == 6  # a quarter past the last


@pytest.mark.parametrize(
    "head, batch, expected",
    [
        ("softmax", 512, (40_000, 60_000, 80_000)),
        ("arcface", 512, (100_000, 140_000, 160_000)),
        ("sphereface", 512, (100_000, 140_000, 160_000)),
        ("arcface", 128, (400_000, 560_000, 640_000)),
        ("softmax", 96, (213_333, 320_000, 426_666)),
    ],
)
def test_default_steps_scale_with_the_batch(head, batch, expected):
    assert schedule(head, batch).boundaries == expected


def test_an_objective_without_steps_has_a_constant_rate_and_a_length():
    def made(**options):
        options = TrainOptions(data_dir="d", loss_type="triplet", lr=0.005, **options)
        return from_options(options, Triplet(), 150, 1000)

    rates = made()
    assert (rates.boundaries, rates.total_steps, rates(29_999)) == ((), 30_000, 0.005)
    assert rates.describe() == "30000 steps of 150 images (30.0 epochs); lr 0.005, constant"
    assert made(max_steps=70, warmup=10).total_steps == 70
    assert made(lr_steps="100").boundaries == (100,)
    assert made(lr_schedule="cosine")(15_000) == pytest.approx(0.0025)


def test_sphereface_waits_for_its_annealing():
    assert schedule("sphereface", beta_freeze=5000).boundaries == (105_000, 145_000, 165_000)
    assert schedule("sphereface", beta_freeze=5000, lr_steps="10,20").boundaries == (5010, 5020)
    assert schedule("arcface", beta_freeze=5000, lr_steps="10,20").boundaries == (10, 20)


@pytest.mark.parametrize(
    "unit, steps, warmup, boundaries, rise",
    [
        ("steps", "1000,2500", 500, (1000, 2500), 500),
        ("epochs", "1,2.5", 0.5, (1000, 2500), 500),
        ("samples", "512000,1280000", 256_000, (1000, 2500), 500),
    ],
)
def test_units(unit, steps, warmup, boundaries, rise):
    made = schedule(lr_unit=unit, lr_steps=steps, warmup=warmup)
    assert (made.boundaries, made.warmup) == (boundaries, rise)


def test_runs_end():
    assert schedule().total_steps == 200_000
    assert schedule(end_epoch=3).total_steps == 3000
    assert schedule(end_epoch=3, max_steps=7).total_steps == 7
    assert schedule(end_epoch=3, max_steps=4000).total_steps == 3000
    for shape in ("cosine", "poly"):
        assert schedule(lr_schedule=shape).total_steps == 200_000


def test_values_by_hand():
    cosine = schedule(lr=0.4, lr_schedule="cosine", max_steps=110, warmup=10)
    by_hand = {0: 0.04, 9: 0.4, 10: 0.4, 35: 0.2 * (1 + math.sqrt(0.5)), 60: 0.2, 110: 0.0, 5000: 0.0}
    assert {step: cosine(step) for step in by_hand} == pytest.approx(by_hand)
    poly = schedule(lr=0.4, lr_schedule="poly", lr_power=3.0, max_steps=110, warmup=10)
    by_hand = {0: 0.04, 10: 0.4, 60: 0.05, 109: 0.4e-6, 110: 0.0}
    assert {step: poly(step) for step in by_hand} == pytest.approx(by_hand)
    warm = schedule(lr=0.4, lr_steps="20,30", warmup=4)
    assert [warm(step) for step in (0, 1, 2, 3, 4, 19, 20, 30)] == pytest.approx(
        [0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.04, 0.004]
    )


@given(
    shape=st.sampled_from(["step", "cosine", "poly"]),
    lr=st.floats(1e-6, 10),
    warmup=st.integers(0, 40),
    length=st.integers(1, 60),
    power=st.floats(0.1, 5),
)
def test_any_schedule(shape, lr, warmup, length, power):
    steps = {"lr_steps": f"{warmup + 1},{warmup + 9}"} if shape == "step" else {}
    options = {"lr": lr, "lr_schedule": shape, "warmup": float(warmup), "lr_power": power, "max_steps": warmup + length}
    made, again = (schedule(**options, **steps) for _ in range(2))
    rates = [made(step) for step in range(warmup + length + 3)]
    assert all(0 <= rate <= lr for rate in rates)
    assert rates[: warmup + 1] == sorted(rates[: warmup + 1])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert made(warmup) == lr  # the fall begins where the rise ends
    if warmup:
        assert made(warmup - 1) == lr
    assert [again(step) for step in reversed(range(len(rates)))] == rates[::-1]
    if shape != "step":
        assert made(warmup + length) == 0


@pytest.mark.parametrize(
    "options, line",
    [
        (
            {"lr_steps": "40000,60000", "warmup": 500.0, "max_steps": 80_000, "per_epoch": 8247},
            "80000 steps of 512 images (9.7 epochs); lr 0.1 after 500 steps of warm-up, a tenth at 40000, 60000",
        ),
        (
            {"lr_steps": "10,3000", "max_steps": 1000},
            "1000 steps of 512 images (1.0 epochs); lr 0.1, a tenth at 10",
        ),
        (
            {"max_steps": 500},
            "500 steps of 512 images (0.5 epochs); lr 0.1, constant (the first fall, at 100000, lies behind the end)",
        ),
        (
            {"warmup": 9.0, "max_steps": 6},
            "6 steps of 512 images (0.0 epochs); lr 0.1 after 9 steps of warm-up (the run ends within it)",
        ),
        (
            {"lr_schedule": "cosine", "max_steps": 1000},
            "1000 steps of 512 images (1.0 epochs); lr 0.1, by half a cosine to 0",
        ),
        (
            {"lr_schedule": "poly", "max_steps": 1000},
            "1000 steps of 512 images (1.0 epochs); lr 0.1, by (1 - t)^2 to 0",
        ),
    ],
)
def test_description(options, line):
    assert schedule(**options).describe() == line


@pytest.mark.parametrize(
    "options, option",
    [
        *(
            ({"lr_steps": text}, "--lr-steps")
            for text in ("a,b", "5,3", "5,5", "0,3", "1,,2", "-1", "2.5", "inf", "nan")
        ),
        ({"lr_steps": "0.0001,0.0002", "lr_unit": "epochs"}, r"--lr-steps .* \(they are steps 0, 0\)"),
        ({"lr_steps": "1,-2", "lr_unit": "epochs"}, "--lr-steps 1,-2: -2: must be a number, 0 or more"),
        ({"lr_steps": "5", "lr_schedule": "cosine"}, "--lr-steps 5: only --lr-schedule step"),
        ({"warmup": 2.5}, "--warmup 2.5: must be a whole number, 0 or more; --lr-unit is steps"),
        ({"warmup": math.inf, "lr_unit": "epochs"}, "--warmup inf"),
        ({"warmup": 30.0, "lr_steps": "30,40"}, "--warmup 30 steps: ends at step 30, .* at step 30 already"),
    ],
)
def test_bad_values_name_their_option(options, option):
    with pytest.raises(InsightError, match=option):
        schedule(**options)


@pytest.mark.parametrize(
    "field, value", [("ckpt", 4), ("lr", 0.0), ("mom", 1.0), ("per_batch_size", 0), ("wd", -1.0), ("verbose", 0)]
)
def test_options_refuse(field, value):
    with pytest.raises(InsightError, match=f"--{field.replace('_', '-')} "):
        TrainOptions(data_dir="d", **{field: value})
