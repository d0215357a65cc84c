"""The picture of what a miner picked."""

import json

import pytest

from insight.cli import main
from insight.errors import InsightError
from insight.plots import triplets
from insight.runs.logfiles import read_log
from insight.runs.stepfigures import Histogram


def histogram(name, step, counts):
    low = -4.0 if name == "gaps" else 0.0
    bins = [0] * round((4 - low) / 0.05)
    for value, count in counts.items():
        bins[int((value - low) / 0.05 + 1e-9)] = count
    return {"kind": "histogram", "time": 0, "name": name, "step": step, "low": low, "high": 4.0, "counts": bins}


def verification(step):
    return {"kind": "verification", "time": 0, "target": "val", "step": step, "accuracy": 0.9, "std": 0, "xnorm": 1}


def write(path, *parts, alpha=0.3):
    """A log with a part of the run for each (step, counts of positives, of negatives, of gaps)."""
    rows = [{"kind": "start", "time": 0, "options": {"triplet_alpha": alpha}, "set": "x", "steps": 9, "versions": {}}]
    for step, *counts in parts:
        rows.append(verification(step))
        rows += [histogram(name, step, count) for name, count in zip(triplets.NAMES, counts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


FIRST = (100, {0.5: 4}, {0.7: 3, 1.5: 1}, {0.2: 3, 1.0: 1})
EMPTY = (200, {}, {}, {})
LAST = (300, {0.1: 2}, {1.9: 2}, {1.8: 2})


def test_the_first_and_the_last_part_with_triplets_are_drawn(tmp_path):
    run = read_log(write(tmp_path / "l.jsonl", FIRST, EMPTY, LAST))
    (first, of_first), (last, of_last) = triplets._parts(run)
    assert (first, last) == ("steps 1 to 100: 4 triplets", "steps 201 to 300: 2 triplets")
    assert sum(of_first[1].counts) == 4 and of_last[2].counts[round(5.8 / 0.05)] == 2
    assert [title for title, _ in triplets._parts(read_log(write(tmp_path / "m.jsonl", FIRST, EMPTY)))] == [first]


def test_a_resumed_run_replaces_what_it_does_again(tmp_path):
    run = read_log(write(tmp_path / "l.jsonl", FIRST, LAST, (200, {0.3: 7}, {0.9: 7}, {0.6: 7})))
    assert [step for step, _ in run.histograms["positives"]] == [100, 200]


def test_the_share_inside_the_band(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(triplets, "save", lambda figure, path, dpi: figures.append(figure))
    for alpha, titles in ((0.3, ["75 % semi-hard", "0 % semi-hard"]), (1.0, ["75 % semi-hard", "0 % semi-hard"])):
        triplets.draw(read_log(write(tmp_path / "l.jsonl", FIRST, LAST, alpha=alpha)), "x.png")
        assert [axes.get_title(loc="right") for axes in figures[-1].axes[2:]] == titles
    triplets.draw(read_log(write(tmp_path / "l.jsonl", FIRST, alpha=0.0)), "x.png")
    assert not figures[-1].axes[1].get_title(loc="right")


def test_limits_are_those_of_the_filled_bins():
    low, high = triplets._limits([Histogram(0.0, 4.0, [0, 1, 0, 0]), Histogram(0.0, 4.0, [0, 0, 5, 0])])
    assert (low, high) == pytest.approx((0.92, 3.08))


def test_the_command(tmp_path, capsys):
    log = write(tmp_path / "l.jsonl", FIRST, LAST)
    curves, picture = tmp_path / "curves.svg", tmp_path / "picked.svg"
    assert main(["plot-log", log, "--output", str(curves), "--triplets", str(picture)]) == 0
    assert "<svg" in picture.read_text() and curves.exists()
    before = picture.read_bytes()
    assert main(["plot-log", log, "--output", str(curves), "--triplets", str(picture)]) == 0
    assert picture.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{a}", "{b}"], "draws one run, and there are 2 logs"),
        (["{none}"], "has no triplets to draw"),
    ],
)
def test_what_cannot_be_drawn(tmp_path, capsys, arguments, message):
    names = {"a": write(tmp_path / "a.jsonl", FIRST), "b": write(tmp_path / "b.jsonl", LAST)}
    names["none"] = write(tmp_path / "none.jsonl", EMPTY)
    logs = [argument.format(**names) for argument in arguments]
    picture = str(tmp_path / "t.png")
    assert main(["plot-log", *logs, "--output", str(tmp_path / "c.png"), "--triplets", picture]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "t.png").exists() and not (tmp_path / "c.png").exists()


def test_a_log_without_options_has_no_band(tmp_path):
    log = tmp_path / "l.jsonl"
    rows = [verification(100), *(histogram(n, 100, c) for n, c in zip(triplets.NAMES, FIRST[1:]))]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert triplets._alpha(read_log(log)) == 0.0
    with pytest.raises(InsightError, match="no triplets"):
        triplets.draw(read_log(write(tmp_path / "m.jsonl", EMPTY)), "x.png")
