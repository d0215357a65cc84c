"""What plot-log draws, prints and writes."""

import csv
import re
import sys

import pytest

from insight.cli import run_command
from insight.pages import charts
from insight.plots import curves, trainreport
from insight.runs.logfiles import read_log

TEXT = """\
INFO:root:Epoch[0] Batch [20]\tSpeed: 100.5 samples/sec\tacc=0.25\tlossvalue=11.5
lr-batch-epoch: 0.1 999 0
[lfw][1000]XNorm: 11.1
[lfw][1000]Accuracy-Flip: 0.99000+-0.00450
[agedb_30][1000]XNorm: 10.1
[agedb_30][1000]Accuracy-Flip: 0.94000+-0.01000
saving 1
lr-batch-epoch: 0.01 1999 0
[lfw][2000]XNorm: 11.2
[lfw][2000]Accuracy-Flip: 0.98500+-0.00500
[agedb_30][2000]XNorm: 10.2
[agedb_30][2000]Accuracy-Flip: 0.95000+-0.01000
"""
JSONL = '{"kind": "step", "step": 20, "loss": null, "acc": 0.5, "acc_free": 0.75, "lr": 0.1}\n'


@pytest.fixture
def logs(tmp_path):
    for name, text in (("one.log", TEXT), ("two.jsonl", JSONL)):
        (tmp_path / name).write_text(text)
    return [str(tmp_path / "one.log"), str(tmp_path / "two.jsonl")]


def test_the_summary(logs):
    assert trainreport.summary([read_log(path) for path in logs]).splitlines() == [
        "one.log: 2000 steps",
        "  lfw       0.99000+-0.00450 at step 1000, number 1",
        "  agedb_30  0.95000+-0.01000 at step 2000, no checkpoint in the log",
        "  best checkpoint: no checkpoint in the log, step 2000, lfw 0.98500, agedb_30 0.95000",
        "two.jsonl: 20 steps",
        "  best checkpoint: unknown, no verification is in the log",
    ]


def test_the_csv(logs, tmp_path):
    trainreport.write_csv([read_log(path) for path in logs], tmp_path / "c.csv")
    with open(tmp_path / "c.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["run"], row["step"]) for row in rows] == [
        ("one.log", "20"),
        ("one.log", "1000"),
        ("one.log", "2000"),
        ("two.jsonl", "20"),
    ]
    assert list(rows[0])[:7] == ["run", "step", "loss", "acc", "acc_free", "lr", "speed"]
    assert (rows[0]["loss"], rows[0]["speed"], rows[0]["lr"], rows[3]["loss"]) == ("11.5", "100.5", "", "nan")
    assert (rows[1]["lfw accuracy"], rows[1]["lfw std"], rows[1]["lfw xnorm"]) == ("0.99", "0.0045", "11.1")
    assert [row["saved"] for row in rows] == ["", "1", "", ""]


def test_the_command(logs, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    svg, table = tmp_path / "new/p.svg", tmp_path / "c.csv"
    assert run_command("plot-log", [*logs, "--output", str(svg), "--csv", str(table)]) == 0
    assert "best checkpoint" in capsys.readouterr().out and table.exists()
    drawn = svg.read_text()
    said = set(re.findall(r"<!-- (.*?) -->", drawn))  # matplotlib writes each text as a remark over its outlines
    assert said >= {"one.log", "two.jsonl", "training loss", "training accuracy", "learning rate"}
    assert said >= {"verification accuracy: lfw", "0.99000 at step 1000", "0.95000 at step 2000", "with the margin"}
    assert run_command("plot-log", [*logs, "--output", str(svg)]) == 0
    assert svg.read_text() == drawn  # the same logs, the same bytes


def test_names_are_drawn_as_they_are(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "_a $b_1$.log"
    path.write_text(TEXT.replace("lfw", "my $set$").replace("11.5", "inf"))
    curves.draw([read_log(path)], tmp_path / "p.svg")
    assert {"_a $b_1$.log", "verification accuracy: my $set$"} <= set(
        re.findall(r"<!-- (.*?) -->", (tmp_path / "p.svg").read_text())
    )


def test_a_long_curve_is_drawn_small(tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    log = read_log(_write(tmp_path, "".join(JSONL.replace('"step": 20', f'"step": {n}') for n in range(1, 5001))))
    log.curves["lr"].values[2500] = 9.0
    axes = figure.subplots()
    curves._draw_curve(axes, log.curves["lr"], "blue", "-", False)
    (line,) = axes.get_lines()
    assert len(line.get_xdata()) == curves.MOST_POINTS
    assert max(line.get_ydata()) < 1  # a mean, under which
    assert max(path.vertices[:, 1].max() for path in axes.collections[0].get_paths()) == 9  # the range shows


def _write(tmp_path, text):
    (tmp_path / "long.jsonl").write_text(text)
    return tmp_path / "long.jsonl"


def test_only_what_is_there_has_a_panel(logs):
    one, two = (read_log(path) for path in logs)
    names = ["training loss", "training accuracy", "learning rate"]
    assert [panel.title for panel in curves.panels([two])] == names
    assert [panel.target for panel in curves.panels([one, two])[3:]] == ["lfw", "agedb_30"]
    del two.curves["lr"], two.curves["loss"]
    assert [panel.title for panel in curves.panels([two])] == names[1:2]


NAMED = '{"kind": "step", "step": 20, "triplets": 35.5, "loss": 1.5, "lr": 0.1, "speed": 9.0}\n'


def test_a_figure_of_another_name_has_a_panel_and_a_column(logs, tmp_path):
    run = read_log(_write(tmp_path, NAMED))
    titles = [panel.title for panel in curves.panels([read_log(logs[1]), run])]
    assert titles == ["training loss", "training accuracy", "training triplets", "learning rate"]
    trainreport.write_csv([run], tmp_path / "c.csv")
    assert (tmp_path / "c.csv").read_text().splitlines() == [
        "run,step,loss,triplets,lr,speed,saved",
        "long.jsonl,20,1.5,35.5,0.1,9,",
    ]
    pytest.importorskip("matplotlib")
    curves.draw([run], tmp_path / "p.svg")
    assert "<!-- training triplets -->" in (tmp_path / "p.svg").read_text()
    page = charts.of_training([run])
    assert [chart.title for chart in page] == ["Training loss", "Training triplets", "Learning rate"]


def test_a_log_of_speeds_alone_is_not_drawn(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    log = _write(tmp_path, "INFO:root:Epoch[0] Batch [20]\tSpeed: 100.5 samples/sec\n")
    assert run_command("plot-log", [str(log), "--output", str(tmp_path / "p.png")]) == 2
    assert "long.jsonl: nothing to draw; want a log with figures" in capsys.readouterr().err
    assert not (tmp_path / "p.png").exists()


def test_bad_input_is_one_line_and_no_file(logs, tmp_path, capsys, monkeypatch):
    def error_of(output, *more):
        assert run_command("plot-log", [*more, "--output", str(tmp_path / output)]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        return lines[0]

    before = sorted(tmp_path.iterdir())
    assert "the suffix says how to draw, want .png or .svg" in error_of("p.pdf", *logs)
    assert "nowhere: no such file" in error_of("p.png", logs[0], "nowhere")
    assert "--csv" in error_of("p.png", *logs, "--csv", logs[0]) and "would be replaced" in error_of(
        "p.png", *logs, "--csv", str(tmp_path / "p.png")
    )
    assert f"--csv {tmp_path}: a folder" in error_of("p.png", *logs, "--csv", str(tmp_path))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "--output: needs matplotlib, which is not installed; pip install -e '.[plots]'" in error_of("p.png", *logs)
    assert sorted(tmp_path.iterdir()) == before
