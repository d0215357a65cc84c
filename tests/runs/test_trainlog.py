"""Logs of training become curves: our JSONL, InsightFace's text in every form in which it is found."""

import json
import math

import numpy as np
import pytest

from insight.errors import InsightError
from insight.runs.logfiles import read_log, read_logs
from insight.runs.textlog import epoch_length
from insight.runs.trainlog import Curve, figure_names

# As printed in 2018: time stamps by a wrapper, Python 2, stdout only, cut out of the middle of a run.
STAMPED = """\
[2018-05-09 02:28:45]  lr-batch-epoch: 0.01 534 15
[2018-05-09 02:28:45]  testing verification..
[2018-05-09 02:28:58]  (12000, 128)
[2018-05-09 02:28:58]  infer time 12.946839
[2018-05-09 02:29:02]  [lfw][112000]XNorm: 11.147283
[2018-05-09 02:29:02]  [lfw][112000]Accuracy-Flip: 0.99517+-0.00450
[2018-05-09 02:29:02]  testing verification..
[2018-05-09 02:29:23]  [agedb_30][112000]XNorm: 11.038146
[2018-05-09 02:29:23]  [agedb_30][112000]Accuracy-Flip: 0.95067+-0.00907
"""
# MXNet 1.x, stdout and stderr in one file, a line of each on one line of the file.
MIXED = """\
INFO:root:Epoch[0] Batch [0-20]\tSpeed: 224.07 samples/sec\tacc=0.276429\tlossvalue=11.522861
INFO:root:Epoch[0] Batch [20-40]\tSpeed: 227.60 samples/sec\tacc=nan\tlossvalue=nan
lr-batch-epoch: 0.1 999 0INFO:root:Epoch[0] Batch [980-1000]\tSpeed: 26.38 samples/sec\tacc=0.5\tlossvalue=1e-1
testing verification..
[lfw][1000]XNorm: 6.325816
[lfw][1000]Accuracy-Flip: 0.90750+-0.00704
saving 1
INFO:root:Saved checkpoint to "./models/model-0001.params"
[1000]Accuracy-Highest: 0.90750
lr-batch-epoch: 0.01 399 1
INFO:root:Epoch[1] Batch [400-420]\tSpeed: 30 samples/sec\tacc=0.75\tlossvalue=0.05
[lfw][2000]XNorm: 7.0
[lfw][2000]Accuracy-Flip: 0.95000+-0.00500
saving 2
"""
PYTHON_2 = """\
INFO:root:Epoch[0] Batch [20]\tSpeed: 932.96 samples/sec\tTrain-acc=0.000293
INFO:root:Epoch[0] Batch [40]   Speed: 930.00 samples/sec   acc=0.25
INFO:root:Epoch[0] Train-acc=0.3
INFO:root:Epoch[1] Batch [20]\tSpeed: 931.00 samples/sec\tacc=0.5
"""


def written(tmp_path, text, name="train.log"):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def points(curve):
    return list(zip(curve.steps, curve.values))


def test_stamped_lines(tmp_path):
    log = read_log(written(tmp_path, STAMPED))
    assert points(log.curves["lr"]) == [(112000, 0.01)]  # epoch 15 of 7431 batches, as 3,804,846 images of 512 make
    assert list(log.targets) == ["lfw", "agedb_30"]
    assert [points(curve) for curve in log.targets["lfw"]] == [
        [(112000, 0.99517)],
        [(112000, 0.0045)],
        [(112000, 11.147283)],
    ]
    assert log.best() == (112000, None, {"lfw": 0.99517, "agedb_30": 0.95067})


def test_only_the_verification_of_the_same_step_tells_the_length(tmp_path):
    """Every 500 steps are verified, every 1000 have an lr line; epochs of 900."""
    log = "lr-batch-epoch: 0.1 99 1\n[t][1000]Accuracy-Flip: 0.9+-0.1\n"
    log += "[t][1500]XNorm: 9.0\n[t][1500]Accuracy-Flip: 0.9+-0.1\n"
    assert points(read_log(written(tmp_path, log)).curves["lr"]) == [(1000, 0.1)]


def test_mixed_streams(tmp_path):
    log = read_log(written(tmp_path, MIXED))
    assert points(log.curves["lr"]) == [(1000, 0.1), (2000, 0.01)]
    assert log.curves["loss"].steps == [20, 40, 1000, 1600 + 420]  # 1600 batches an epoch, by the lr lines
    assert log.curves["loss"].values[::2] == [11.522861, 0.1]
    assert math.isnan(log.curves["acc"].values[1])
    assert log.curves["speed"].values == [224.07, 227.6, 26.38, 30]
    assert points(log.saved) == [(1000, 1), (2000, 2)]
    assert log.best() == (2000, 2, {"lfw": 0.95})
    assert log.last_step() == 2020


def test_stderr_alone(tmp_path):
    log = read_log(written(tmp_path, PYTHON_2))
    assert points(log.curves["acc"]) == [(20, 0.000293), (40, 0.25), (60, 0.5)]
    assert log.targets == {} and log.best() is None


def test_the_trainers_own_lines_and_the_sharded_trainers(tmp_path):
    own = "INFO:root:Epoch[0] Batch [20]\tSpeed: 9.5 samples/sec\tacc=0.1\tloss=5.3\tacc-nomargin=0.2\twait=0.2%\n"
    log = read_log(written(tmp_path, own))
    assert {name: points(curve) for name, curve in log.curves.items()} == {
        "speed": [(20, 9.5)],
        "acc": [(20, 0.1)],
        "loss": [(20, 5.3)],
        "acc_free": [(20, 0.2)],
        "wait": [(20, 0.002)],
    }
    log = read_log(written(tmp_path, own.split("\tacc")[0] + "\n{fc7_acc} 30 0.25\n"))
    assert points(log.curves["acc"]) == [(30, 0.25)]


def test_a_run_that_begins_again_replaces(tmp_path):
    log = read_log(written(tmp_path, PYTHON_2 + PYTHON_2.replace("0.000293", "0.125").splitlines()[0] + "\n"))
    assert points(log.curves["acc"]) == [(20, 0.125)]


@pytest.mark.parametrize(
    ("rates", "batches", "length"),
    [
        ([(0, 999), (0, 1999)], [], 2000),  # one epoch: any length will do, if it is no shorter than what was seen
        ([(0, 6999), (1, 568)], [], 7431),
        ([(0, 299), (3, 149)], [], 0),  # 1150 batches are not three epochs: another run begins between
        ([(0, 99), (10, 99)], [], 100),
        ([(0, 2999), (1, 2500)], [], 3000),  # lines between are missing: not 1499, the least is what was seen
        ([], [(0, 20), (0, 40), (1, 20), (1, 40), (2, 20)], 40),
        ([], [], 0),
    ],
)
def test_length_of_an_epoch(rates, batches, length):
    found = epoch_length(rates, batches)
    assert found == length if length else found <= 300


def jsonl(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def step(number, loss=1.0):
    return {"kind": "step", "step": number, "epoch": 0, "loss": loss, "acc": 0.5, "lr": 0.1, "speed": 50.0}


def verified(number, target, accuracy):
    return {
        "kind": "verification",
        "step": number,
        "target": target,
        "accuracy": accuracy,
        "std": 0.01,
        "xnorm": 9.0,
    }


def test_jsonl(tmp_path):
    rows = [
        {"kind": "start", "options": {}},
        step(5, 9.0),
        verified(5, "gone", 0.9),
        {"kind": "start", "options": {}},  # a new run under the same prefix
        verified(0, "lfw", 0.99),
        step(10),
        step(20, None),
        verified(20, "lfw", 0.8),
        verified(20, "agedb_30", 0.7),
        {"kind": "saved", "step": 20, "number": 1, "path": "m-0001.params"},
        verified(40, "lfw", 0.8),
        verified(40, "agedb_30", 0.6),
    ]
    log = read_log(written(tmp_path, jsonl(*rows) + '{"kind": "st'))  # a line that is being written
    assert log.curves["loss"].steps == [10, 20]
    np.testing.assert_array_equal(log.curves["loss"].values, [1.0, math.nan])
    assert list(log.targets) == ["lfw", "agedb_30"]
    assert log.best() == (20, 1, {"lfw": 0.8, "agedb_30": 0.7})
    assert log.best_of("lfw") == (20, 1, {"lfw": 0.8})  # not step 0; of equal ones the saved


def test_step_0_counts_if_it_was_saved(tmp_path):
    saved = [{"kind": "saved", "step": step, "number": 1, "path": "m-0001.params"} for step in (0, 20)]
    rows = [step(10), verified(0, "lfw", 0.99), saved[0], verified(20, "lfw", 0.8)]
    log = read_log(written(tmp_path, jsonl(*rows)))
    assert log.best() == log.best_of("lfw") == (0, 1, {"lfw": 0.99})


def test_figures_of_any_name_are_curves(tmp_path):
    named = {**step(10), "triplets": 3.5, "hard-share": None, "skipped": 2, "saved": 7}
    log = read_log(written(tmp_path, jsonl(step(5), named)))
    assert list(log.curves) == ["loss", "acc", "lr", "speed", "triplets", "hard-share"]
    assert points(log.curves["triplets"]) == [(10, 3.5)]
    assert log.curves["hard-share"].steps == [10] and math.isnan(log.curves["hard-share"].values[0])
    line = (
        "INFO:root:Epoch[0] Batch [20]\tSpeed: 9.5 samples/sec\tloss=1.5\ttriplets=35.5\twait=0.0%\tskipped=2\trun=1\n"
    )
    text = read_log(written(tmp_path, line))
    assert {name: points(curve) for name, curve in text.curves.items()} == {
        "speed": [(20, 9.5)],
        "loss": [(20, 1.5)],
        "triplets": [(20, 35.5)],
        "wait": [(20, 0.0)],
    }
    assert figure_names([text, log]) == ["loss", "acc", "triplets", "hard-share"]


def test_of_equal_verifications_the_sum_and_then_the_later_is_best(tmp_path):
    rows = [verified(s, t, a) for s, lfw in ((1, 0.9), (2, 0.95), (3, 0.95)) for t, a in (("lfw", lfw), ("x", 0.7))]
    assert read_log(written(tmp_path, jsonl(*rows))).best().step == 3
    assert read_log(written(tmp_path, jsonl(*rows[:4], *rows[:2]))).best().step == 1  # step 1 again: 2 is cut off


def test_labels_tell_files_apart(tmp_path):
    paths = [written(tmp_path, PYTHON_2, name) for name in ("a/x/m.log", "b/x/m.log")]
    assert [log.label for log in read_logs(paths)] == ["a/x/m.log", "b/x/m.log"]
    assert read_logs(paths[:1])[0].label == "m.log"
    with pytest.raises(InsightError, match=r"m.log: named twice; name each log once"):
        read_logs([paths[0], paths[0]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t: empty; want the PREFIX-log.jsonl"),
        ("\n \n", "t: empty"),
        ("hello\nworld\n", "t: has no line of a training log; want the PREFIX-log.jsonl of train-softmax, or the text"),
        ('{"kind": "start"}\n', "t: has no line of a training log"),
        (jsonl(step(1)) + '{"kind": "step", "loss": 1}\n', "t:2: not a line of train-softmax's log"),
        ('{"a": 1}\n', "t:1: not a line"),
        ("[lfw]XNorm: 8.0\n[lfw]Accuracy-Flip: 0.9+-0.1\n", "no line of a training log"),  # insight verification's
    ],
)
def test_what_is_no_log_is_told(tmp_path, text, message):
    with pytest.raises(InsightError, match=message):
        read_log(written(tmp_path, text, "t"))


def test_a_missing_file_and_a_binary_one(tmp_path):
    with pytest.raises(InsightError, match=r"nowhere: no such file; want"):
        read_log("nowhere")
    (tmp_path / "b").write_bytes(bytes(range(256)) * 50)
    with pytest.raises(InsightError, match="no line of a training log"):
        read_log(tmp_path / "b")


def test_a_curve_is_cut_where_it_goes_back():
    curve = Curve()
    for number in (1, 2, 3, 2, 5):
        curve.add(number, 10 * number + len(curve))
    assert points(curve) == [(1, 10), (2, 23), (5, 52)]
    assert (curve.at(2), 2 in curve, 3 in curve) == (23, True, False)
    assert math.isnan(curve.at(4))


def everything(log):
    """All that a log holds, NaN made comparable."""
    curves = [(name, points(curve)) for name, curve in log.curves.items()]
    targets = [(name, [points(curve) for curve in target]) for name, target in log.targets.items()]
    return repr((curves, targets, points(log.saved)))


OWN = jsonl(
    {"kind": "start", "options": {"lr": 0.1}},
    step(5, 9.0),
    step(10, None),
    verified(10, "lfw", 0.9),
    {"kind": "saved", "step": 10, "number": 1},
)
VARIATIONS = {
    "byte-order mark": lambda text: text.encode("utf-8-sig"),
    "PowerShell's >": lambda text: text.replace("\n", "\r\n").encode("utf-16"),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "CR": lambda text: text.replace("\n", "\r").encode(),
    "blank lines": lambda text: text.replace("\n", "  \n \n").encode(),
    "docker logs -t": lambda text: "".join(
        f"2021-06-19T10:00:00.123456789Z {line}\n" for line in text.splitlines()
    ).encode(),
    "colours": lambda text: "".join(f"\x1b[32;1m{line}\x1b[0m\x1b[K\n" for line in text.splitlines()).encode(),
    "colours inside": lambda text: (
        text.replace("Speed", "\x1b[1mSpeed\x1b[m").replace('"step"', '\x1b[31m"step"\x1b[0m').encode()
    ),
    "a window's title": lambda text: ("\x1b]0;training\x07" + text).encode(),
}


@pytest.mark.parametrize("variation", VARIATIONS)
@pytest.mark.parametrize("text", [OWN, STAMPED, MIXED, PYTHON_2], ids=["jsonl", "stamped", "mixed", "python 2"])
def test_variations_read_as_the_original(tmp_path, text, variation):
    want = everything(read_log(written(tmp_path, text)))
    (tmp_path / "v.log").write_bytes(VARIATIONS[variation](text))
    assert everything(read_log(tmp_path / "v.log")) == want


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        '{"kind": "step", "step": Infinity, "loss": 1}',
        '{"kind": "step", "step": 1e300, "loss": 1}',
        '{"kind": "step", "step": -1, "loss": 1}',
        '{"kind": "step", "step": 1, "loss": {}}',
        '{"kind": "step", "step": 1, "loss": "' + "9" * 400 + 'x"}',
        '{"kind": "step", "step": 1, "loss": ' + "9" * 400 + "}",
        '{"kind": "verification", "target": "lfw", "step": 1}',
        "[1]",
        "7",
    ],
)
def test_a_damaged_line_of_the_jsonl_is_named(tmp_path, line):
    with pytest.raises(InsightError, match=r"t:6: not a line of train-softmax's log") as caught:
        read_log(written(tmp_path, OWN + line + "\n", "t"))
    assert len(str(caught.value)) < 400


def test_numbers_that_are_no_steps_are_passed_over(tmp_path):
    odd = f"[lfw][{'9' * 5000}]XNorm: 1.0\nlr-batch-epoch: 0.1 {'9' * 30} 1\n"
    odd += f"Epoch[{'1' * 20}] Batch [20]\tSpeed: 1 samples/sec\n"
    assert everything(read_log(written(tmp_path, odd + PYTHON_2))) == everything(read_log(written(tmp_path, PYTHON_2)))
