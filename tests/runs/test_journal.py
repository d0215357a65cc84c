"""What a run writes: lines, JSONL, curves, the bar; and that a resumed run writes the same."""

import json
import os
import pty
import re
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from textwrap import dedent

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from insight.errors import InsightError
from insight.runs.core_share import CoreShare
from insight.runs.journal import Journal
from insight.runs.jsonl import StartRow
from insight.runs.logfiles import read_log
from insight.runs.stepfigures import Histogram

NAMES = ("loss", "acc", "acc_free")


def journal(folder, frequent=4, step=0, **more):
    return Journal(str(folder / "model"), 8, 3, frequent, 20, step, **more)


def start(steps=20):
    return StartRow({"seed": 1}, "hash", steps, {})


def figures(step):
    """Some floats that no sum is exact for."""
    return dict(zip(NAMES, map(float, np.random.default_rng(step).random(3))))


def run(to, log, start=0, rate=0.1):
    for step in range(start + 1, to + 1):
        log.step(step, figures(step), rate, 0.0)


def rows(folder, kind="step"):
    found = [json.loads(line) for line in open(folder / "model-log.jsonl", encoding="utf-8")]
    return [row for row in found if row["kind"] == kind]


def figures_of(row):
    return {name: value for name, value in row.items() if name not in ("time", "speed", "wait")}


def events(folder):
    """The events of every file, in the order in which TensorBoard reads them."""
    for path in sorted((folder / "model-tensorboard").iterdir()):
        data = path.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            yield Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]


def scalars(folder):
    return [(e.step, v.tag, v.simple_value) for e in events(folder) for v in e.summary.value]


def test_lines_are_insightface_s(tmp_path, capfd):
    log = Journal(str(tmp_path / "deep/er/model"), 8, 30, 20, 2000, 980)
    for step in range(981, 1001):
        log.step(step, {"loss": 2.5, "acc": 0.25, "acc_free": 0.5}, 0.01, 0.0)
    log.close()
    out, err = capfd.readouterr()
    assert out == "lr-batch-epoch: 0.01 9 33\n"
    assert re.fullmatch(
        r"INFO:root:Epoch\[33\] Batch \[10\]\tSpeed: [\d.]+ samples/sec\tacc=0\.250000\tloss=2\.5000"
        r"\tacc-nomargin=0\.500000\twait=0\.0%\n",
        err,
    )


def test_a_window_is_the_mean_of_its_steps(tmp_path, capfd):
    log = journal(tmp_path, frequent=4)
    run(8, log, rate=0.25)
    log.close()
    for row, first in zip(rows(tmp_path), (1, 5)):
        mean = np.mean([list(figures(step).values()) for step in range(first, first + 4)], axis=0)
        assert [row[name] for name in NAMES] == pytest.approx(mean, rel=1e-12)
        assert (row["step"], row["epoch"], row["lr"]) == (first + 3, (first + 2) // 3, 0.25)
    assert "skipped" not in row


def test_a_window_is_summed_in_order(tmp_path, capfd):
    log = journal(tmp_path, frequent=4)
    for step, loss in enumerate((1e16, 1.0, -1e16, 1.0), 1):  # a sum with compensation, as Python 3.12's, gives 2
        log.step(step, {"loss": loss}, 0.1, 0.0)
    log.close()
    assert rows(tmp_path)[0]["loss"] == 0.25


def test_skipped_updates_are_counted(tmp_path, capfd):
    log = journal(tmp_path, frequent=3)
    for step, skipped in enumerate((1, 0, 1, 0, 0, 0), 1):
        log.step(step, {"loss": 1.0}, 0.1, 0.0, skipped=skipped)
    log.close()
    assert [row.get("skipped") for row in rows(tmp_path)] == [2, None]
    assert capfd.readouterr().err.count("\tskipped=2\n") == 1


def test_speed_leaves_pauses_out(tmp_path, capfd, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    log = journal(tmp_path, frequent=2)
    for step in range(1, 5):
        now[0] += 0.5
        log.step(step, {"loss": 1.0}, 0.1, 0.1 * step)
        with log.pause():
            now[0] += 1000
    log.close()
    assert [row["speed"] for row in rows(tmp_path)] == pytest.approx([16, 16])
    assert [row["wait"] for row in rows(tmp_path)] == pytest.approx([0.2, 0.2])


@pytest.mark.parametrize("stop", [1, 4, 6])
def test_a_resumed_run_writes_the_same(tmp_path, capfd, stop):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    log = journal(whole)
    log.write(start())
    run(8, log)
    log.close()

    log = journal(parts)
    log.write(start())
    run(stop, log)
    state = json.loads(json.dumps(log.state()))
    run(7, log, stop)  # then it is killed
    log._file.write('{"kind": "st')
    log._file.flush()
    resumed = journal(parts, step=stop, keep_bytes=state["bytes"])
    resumed.restore(state)
    run(8, resumed, stop)
    resumed.close()
    assert [figures_of(row) for row in rows(parts)] == [figures_of(row) for row in rows(whole)]  # to the bit
    assert len(rows(parts, "start")) == 1


def test_figures_are_logged_by_their_names(tmp_path, capfd):
    log = journal(tmp_path, frequent=2)
    log.step(1, {"triplets": 3.0, "loss": 1.0}, 0.1, 0.0)
    log.step(2, {"triplets": 4.0, "loss": 2.0, "hard-share": 1e-7}, 0.1, 0.0)
    log.close()
    assert re.search(
        r" samples/sec\tloss=1\.5000\ttriplets=3\.5\thard-share=1e-07\twait=0\.0%\n", capfd.readouterr().err
    )
    row = rows(tmp_path)[0]
    assert list(row) == ["kind", "time", "step", "epoch", "triplets", "loss", "hard-share", "lr", "speed", "wait"]
    assert (row["triplets"], row["loss"], row["hard-share"]) == (3.5, 1.5, 1e-7)  # the last was given once
    assert [tag for _, tag, _ in scalars(tmp_path)] == ["triplets", "loss", "hard-share", "lr", "speed", "wait"]


def test_names_of_a_line_may_differ(tmp_path, capfd):
    log = journal(tmp_path, frequent=1, names={"loss": "lossvalue"})
    log.step(1, {"loss": 0.065, "pairs": 300.0}, 0.1, 0.0)
    log.close()
    assert "samples/sec\tlossvalue=0.0650\tpairs=300\t" in capfd.readouterr().err
    assert rows_of(tmp_path, "step")[0]["loss"] == 0.065


def test_histograms_are_summed_and_resumed(tmp_path, capfd):
    """Of all steps since the last verification, those before a resumed run's state among them; no figures."""
    log = journal(tmp_path, frequent=2)
    counts = [[1, 0], [2, 5], [0, 7], [4, 4]]
    for step in (1, 2, 3):
        log.step(step, {"loss": 1.0, "gaps": Histogram(-4, 4, counts[step - 1])}, 0.1, 0.0)
        if step == 2:
            log.log_histograms(2)
    state = json.loads(json.dumps(log.state()))
    log.close()
    later = journal(tmp_path, frequent=2, step=3, keep_bytes=state["bytes"])
    later.restore(state)
    later.step(4, {"loss": 1.0, "gaps": Histogram(-4, 4, counts[3])}, 0.1, 0.0)
    later.log_histograms(4)
    later.log_histograms(5)  # nothing since
    later.close()
    found = [(row["step"], row["name"], row["low"], row["counts"]) for row in rows_of(tmp_path, "histogram")]
    assert found == [(2, "gaps", -4, [3, 5]), (4, "gaps", -4, [4, 11])]
    assert "gaps" not in rows_of(tmp_path, "step")[0] and "gaps" not in capfd.readouterr().err


def test_lines_of_a_bag_are_insightface_s(tmp_path, capfd):
    log = journal(tmp_path)
    log.mined(7, 4200, 8400, 2071, 6150, (0.25, 14.0, 2.5))
    log.close()
    assert capfd.readouterr().out.splitlines() == [
        "eval 4200 images.. 8400",
        "triplet time stat [0.250000, 14.000000, 2.500000]",
        "found triplets 2071",
        "seq len 6150",
    ]
    assert rows_of(tmp_path, "mined")[0]["step"] == 7


def rows_of(folder, kind):
    lines = [json.loads(line) for line in (folder / "model-log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_a_window_of_named_figures_is_resumed(tmp_path, capfd):
    log = journal(tmp_path)
    log.step(1, {"triplets": 3.0}, 0.1, 0.0, skipped=1)
    state = json.loads(json.dumps(log.state()))
    resumed = journal(tmp_path, step=1, keep_bytes=state["bytes"])
    resumed.restore(state)
    for step in (2, 3, 4):
        resumed.step(step, {"triplets": 5.0}, 0.1, 0.0)
    resumed.close()
    assert [(row["triplets"], row["skipped"]) for row in rows(tmp_path)] == [(4.5, 1)]


def test_a_state_of_before_figures_had_names(tmp_path, capfd):
    log = journal(tmp_path, step=3, keep_bytes=0)
    log.restore({"pending": [[1.0, 0.5, 0.25, 1]] * 3, "bytes": 0})
    log.step(4, {"loss": 5.0, "acc": 0.5, "acc_free": 0.25}, 0.1, 0.0)
    row = rows(tmp_path)[0]
    assert [row[name] for name in (*NAMES, "skipped")] == [2.0, 0.5, 0.25, 3]


@pytest.mark.parametrize("name", ["lr", "step", "saved", "acc-nomargin", "two words", "", "2nd", "a=b", "größe"])
def test_a_name_that_a_log_cannot_hold_is_refused(tmp_path, name):
    with pytest.raises(InsightError, match=f"figure '{name}' of the objective: (used|not a name).*; want another name"):
        journal(tmp_path).step(1, {"loss": 1.0, name: 1.0}, 0.1, 0.0)


def test_a_speed_after_a_resume_counts_only_steps_since(tmp_path, capfd, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    log = journal(tmp_path, step=3, keep_bytes=0)
    log.restore({"pending": [[1.0, 0.0, 0.0, 0]] * 3, "bytes": 0})
    now[0] += 2
    log.step(4, figures(4), 0.1, 0.0)
    assert rows(tmp_path)[0]["speed"] == pytest.approx(4)


def test_a_shorter_file_stays_and_half_a_line_goes(tmp_path, capfd):
    path = tmp_path / "model-log.jsonl"
    path.write_text('{"kind": "start", "steps": 1}\n{"kind": "sta')
    journal(tmp_path, keep_bytes=4000).close()
    assert path.read_text() == '{"kind": "start", "steps": 1}\n'
    path.write_text('{"kind": "start", "steps": 1}\n{"kind": "sta')
    log = journal(tmp_path)  # a new run appends
    log.write(start(2))
    log.close()
    assert [row["steps"] for row in rows(tmp_path, "start")] == [1, 2]


def test_what_is_not_finite_is_null(tmp_path, capfd):
    log = journal(tmp_path, frequent=1)
    log.step(1, {"loss": float("inf"), "acc": 0.5, "acc_free": float("nan")}, 0.1, 0.0)
    log.close()
    assert "NaN" not in log.path.read_text() and "Infinity" not in log.path.read_text()
    assert [rows(tmp_path)[0][name] for name in ("loss", "acc", "acc_free")] == [None, 0.5, None]
    assert {tag for _, tag, _ in scalars(tmp_path)} == {"acc", "lr", "speed", "wait"}


class Measured:
    """Stands in for Cores: hands out what was measured, and counts what it is asked."""

    def __init__(self, *found):
        self.found = list(found)
        self.restarts = self.pauses = 0

    def measure(self, wait):
        return self.found.pop(0)

    def restart(self):
        self.restarts += 1

    @contextmanager
    def pause(self):
        self.pauses += 1
        yield


def test_the_share_of_the_cores(tmp_path, capfd):
    low, lower = CoreShare(0.571, "stop the others"), CoreShare(0.3, "stop them now")
    measured = Measured(CoreShare(0.97, ""), low, CoreShare(0.79, ""), lower)
    log = journal(tmp_path, frequent=1, cores=measured)
    run(3, log)
    with log.pause():
        pass
    run(4, log, start=3)
    log.close()
    out, err = capfd.readouterr()
    assert [re.search(r"\twait=[\d.]+%(.*)", line).group(1) for line in err.splitlines()] == [
        "",
        "\tcpu=57%",
        "\tcpu=79%",
        "\tcpu=30%",
    ]
    assert out == "note: stop the others\n"  # once a run
    assert [row["cpu"] for row in rows(tmp_path)] == [0.97, 0.571, 0.79, 0.3]
    assert [value for _, tag, value in scalars(tmp_path) if tag == "cpu"] == pytest.approx([0.97, 0.571, 0.79, 0.3])
    assert (measured.restarts, measured.pauses) == (5, 1)  # at the start and after each line
    text = tmp_path / "text.log"
    text.write_text(err)
    assert read_log(text).curves["cpu"].values == pytest.approx([0.57, 0.79, 0.3])
    assert read_log(log.path).curves["cpu"].values == pytest.approx([0.97, 0.571, 0.79, 0.3])


def test_a_slow_first_window_is_advised_early(tmp_path, capfd, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    measured = Measured(CoreShare(0.3, "stop the others"), CoreShare(0.3, "stop the others"))
    log = journal(tmp_path, frequent=4, cores=measured)
    for step in range(1, 5):
        now[0] += 6
        run(step, log, start=step - 1)
        assert capfd.readouterr().out == ("note: stop the others\n" if step == 2 else "")
    log.close()
    assert measured.found == []  # looked at once before the line, and at the line


def test_curves(tmp_path, capfd):
    log = journal(tmp_path)
    run(4, log)
    log.verified(4, "lfw", 0.75, 0.1, 12.5)
    row = rows(tmp_path)[0]
    found = {(step, tag): value for step, tag, value in scalars(tmp_path)}  # before it is closed: nothing waits
    names = {"acc_nomargin": "acc_free", **{n: n for n in ("loss", "acc", "lr", "speed", "wait")}}
    assert found == pytest.approx(
        {(4, tag): row[name] for tag, name in names.items()} | {(4, "lfw/accuracy"): 0.75, (4, "lfw/xnorm"): 12.5}
    )
    verification = rows(tmp_path, "verification")[0]
    assert figures_of(verification) == {
        "kind": "verification",
        "target": "lfw",
        "step": 4,
        "accuracy": 0.75,
        "std": 0.1,
        "xnorm": 12.5,
    }
    # A run killed here and resumed within the same second: a file of its own, which hides the steps after its start.
    journal(tmp_path, step=3, keep_bytes=0).close()
    log.close()
    assert len(list((tmp_path / "model-tensorboard").iterdir())) == 2
    assert [event.step for event in events(tmp_path) if event.session_log.status] == [0, 4]


def on_a_terminal(code, stdout=None):
    """Run Python with stderr, and stdout unless given, on a terminal of 120 columns; what the terminal got."""
    main, side = pty.openpty()
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    child = subprocess.Popen([sys.executable, "-c", dedent(code)], stdout=stdout or side, stderr=side, env=environment)
    os.close(side)
    got = b""
    try:
        while chunk := os.read(main, 65536):
            got += chunk
    except OSError:  # the other end is closed
        pass
    os.close(main)
    assert child.wait(30) == 0, got.decode()
    return got.decode()


CODE = """
    import time
    from insight.progress import Steps
    bar = Steps("training", 200)
    clock = time.monotonic
    bar.say("before")
    for step in range(1, 201):
        time.monotonic = lambda: 10.0 * step
        bar.update(step, f"loss {step}.5  80 images/s")
        if step == 90:
            bar.say("[a] :smile: out")
            bar.log("long " * 40 + "err")
    bar.close()
    bar.say("after")
"""


def test_a_bar_on_a_terminal():
    got = on_a_terminal(CODE)
    assert "90/200" in got and "loss 90.5  80 images/s" in got
    assert "0:18:20 left" in got  # 110 steps of ten seconds, at step 90
    shown = [re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", line).strip("\r").split("\r")[-1] for line in got.split("\n")]
    for line in ("before", "[a] :smile: out", "long " * 40 + "err", "after"):
        assert line in shown, line
    assert shown[-2:] == ["after", ""]


def test_lines_for_a_file_go_there_and_the_bar_does_not(tmp_path):
    with open(tmp_path / "out", "w") as out:
        on_a_terminal(CODE, out)
    assert (tmp_path / "out").read_text() == "before\n[a] :smile: out\nafter\n"


def test_no_terminal_no_bar():
    done = subprocess.run([sys.executable, "-c", dedent(CODE)], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("before\n[a] :smile: out\nafter\n", "long " * 40 + "err\n")
