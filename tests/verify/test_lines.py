"""The text and the JSON of a verification."""

import json

import numpy as np
import pytest

from insight.verify import lines
from insight.verify.figures import figures
from insight.verify.folds import kfold_accuracy
from insight.verify.verification import Verification


def scored(distance, issame, folds=2, identities=None):
    """A verification whose distances are given."""
    distance, issame = np.asarray(distance, float), np.asarray(issame, bool)
    accuracy = kfold_accuracy(distance, issame, folds)
    return Verification("val", accuracy, 11.25, len(issame), 128, 2.5, 9, distance, issame, identities)


def noisy(count=400, seed=5):
    draw = np.random.default_rng(seed)
    issame = draw.random(count) < 0.5
    return scored(draw.normal(np.where(issame, 1.0, 1.7), 0.3).clip(0, 4), issame, 10)


def test_text_to_the_letter():
    result = scored([0.5, 1.0] * 30, [True, False] * 30)
    assert lines.text(result, figures(result, resamples=50, seed=2)) == [
        "(120, 128)",
        "infer time 2.500000",
        "[val]XNorm: 11.250000",
        "[val]Accuracy-Flip: 1.00000+-0.00000",
        "[val]Pairs: 60 (30 same, 30 different), 9 distinct images",
        "[val]Accuracy per fold: 1.00000 1.00000",
        "[val]Intervals: 95 %, 50 bootstrap resamples over pairs, seed 2",
        "[val]                              95 % interval  cosine >  squared L2 <       FAR       TAR   false accepts",
        "[val]accuracy, folds   1.00000   1.00000-1.00000",
        "[val]accuracy, best    1.00000                      0.6250        0.7500         0   1.00000         0 of 30",
        "[val]AUC               1.00000   1.00000-1.00000",
        "[val]EER               0.00000   0.00000-0.00000    0.6250        0.7500         0   1.00000         0 of 30",
        "[val]TAR at FAR 1e-1   1.00000   1.00000-1.00000    0.6250        0.7500         0   1.00000         0 of 30",
        "[val]TAR at FAR 1e-2  not measurable: 30 different pairs, 100 are needed",
        "[val]TAR at FAR 1e-3  not measurable: 30 different pairs, 1000 are needed",
        "[val]TAR at FAR 1e-4  not measurable: 30 different pairs, 10000 are needed",
        "[val]TAR at FAR 1e-5  not measurable: 30 different pairs, 100000 are needed",
        "[val]TAR at FAR 1e-6  not measurable: 30 different pairs, 1000000 are needed",
    ]


def test_what_is_printed_gives_its_rates():
    """The figures of a row are parsed from the text and applied."""
    result = noisy()
    found = figures(result, resamples=0)
    rows = [line.split("]")[1] for line in lines.text(result, found) if " of " in line]
    assert [row[:16].strip() for row in rows] == ["accuracy, best", "EER", "TAR at FAR 1e-1", "TAR at FAR 1e-2"]
    different = ~result.issame
    for row in rows:
        cosine, squared, far, tar, accepts, _, pairs = row[16:].split()[1:]
        for accepted in (result.distances < float(squared), 1 - result.distances / 2 > float(cosine)):
            assert (accepted & different).sum() == int(accepts)
            assert f"{accepted[different].mean():.3g}" == far
            assert f"{accepted[result.issame].mean():.5f}" == tar
        assert int(pairs) == different.sum()


@pytest.mark.parametrize(
    "distance, issame, folds, message",
    [
        ([0.5, 1.0, 0.5], [1, 0, 1], 3, "Folds: 3 of one pair each; the set has too few pairs for longer ones"),
        (
            [0.5, 0.6, 1.0, 1.1],
            [1, 1, 0, 0],
            2,
            "Folds: 2 of 2 have one kind of pairs only, so the deviation means little",
        ),
    ],
)
def test_folds_that_mean_little_are_reported(distance, issame, folds, message):
    result = scored(distance, issame, folds)
    assert f"[val]{message}" in lines.text(result, figures(result, 0))
    assert not any("Folds:" in line for line in lines.text(noisy(), figures(noisy(), 0)))


def test_json_has_all_figures_of_the_text(tmp_path):
    result = noisy()
    found = figures(result, resamples=30, seed=1)
    lines.write_json(tmp_path / "out.json", "m,1", [lines.record(result, found, "m,1", "MXNet")])
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["model"] == "m,1"
    (record,) = written["results"]
    assert (record["target"], record["model"], record["pairs"]) == ("val", "m,1", 400)
    assert len(record["per_fold"]) == len(record["thresholds_squared_l2"]) == 10
    assert list(record["at_far"]) == ["1e-1", "1e-2", "1e-3", "1e-4", "1e-5", "1e-6"]
    assert record["at_far"]["1e-3"] is None
    point = record["at_far"]["1e-2"]
    accepted = result.distances < point["squared_l2"]
    assert accepted[~result.issame].mean() == point["far"] <= 0.01
    assert accepted[result.issame].mean() == point["tar"]
    between = record["intervals"]
    assert (between["over"], between["resamples"], between["seed"]) == ("pairs", 30, 1)
    assert between["accuracy"][0] <= record["accuracy"] <= between["accuracy"][1]
    assert set(between["tar_at_far"]) == {"1e-1", "1e-2"}
    assert "intervals" not in lines.record(result, figures(result, 0), "m,1", "MXNet")
