"""Rows of PREFIX-log.jsonl: the bytes of each kind, and that what is written is read."""

import pytest

from insight.runs.jsonl import (
    KINDS,
    AveragesSavedRow,
    DamagedRow,
    DamageRow,
    HistogramRow,
    MinedRow,
    SavedRow,
    StartRow,
    StepRow,
    VerificationRow,
    format_row,
    is_row,
    parse_row,
)

FIGURES = {"loss": 5.25, "acc": 0.5, "acc_free": 0.75}
GOLDEN = [
    (
        StartRow({"lr": 0.1, "prefix": "models/y1"}, "4a66", 1305, {"mxnet": "1.9.1"}),
        '{"kind": "start", "time": 1700000000.123, "options": {"lr": 0.1, "prefix": "models/y1"}, "set": "4a66", '
        '"steps": 1305, "versions": {"mxnet": "1.9.1"}}',
    ),
    (
        StepRow(20, 0, FIGURES, 0.1, 101.5, 0.002),
        '{"kind": "step", "time": 1700000000.123, "step": 20, "epoch": 0, "loss": 5.25, "acc": 0.5, "acc_free": 0.75, '
        '"lr": 0.1, "speed": 101.5, "wait": 0.002}',
    ),
    (
        StepRow(40, 1, {"triplets": 3.5, "hard-share": None}, 0.1, 101.5, 0.0, 0.57, 2),
        '{"kind": "step", "time": 1700000000.123, "step": 40, "epoch": 1, "triplets": 3.5, "hard-share": null, '
        '"lr": 0.1, "speed": 101.5, "wait": 0.0, "cpu": 0.57, "skipped": 2}',
    ),
    (
        VerificationRow("lfw", 40, 0.99, 0.0045, None),
        '{"kind": "verification", "time": 1700000000.123, "target": "lfw", "step": 40, "accuracy": 0.99, '
        '"std": 0.0045, "xnorm": null}',
    ),
    (
        SavedRow(40, 2, "models/y1-0002.params"),
        '{"kind": "saved", "time": 1700000000.123, "step": 40, "number": 2, "path": "models/y1-0002.params"}',
    ),
    (
        AveragesSavedRow(40, 2, "models/y1-ema-0002.params"),
        '{"kind": "saved_averages", "time": 1700000000.123, "step": 40, "number": 2, '
        '"path": "models/y1-ema-0002.params"}',
    ),
    (
        HistogramRow("gaps", 40, -4.0, 4.0, [0, 3, 1]),
        '{"kind": "histogram", "time": 1700000000.123, "name": "gaps", "step": 40, "low": -4.0, "high": 4.0, '
        '"counts": [0, 3, 1]}',
    ),
    (
        MinedRow(40, 3600, 7200, 2071, 6150, [0.5, 14.0, 2.5]),
        '{"kind": "mined", "time": 1700000000.123, "step": 40, "images": 3600, "begin": 7200, "triplets": 2071, '
        '"queued": 6150, "seconds": [0.5, 14.0, 2.5]}',
    ),
    (
        DamagedRow(3, 17, "premature end"),
        '{"kind": "damaged", "time": 1700000000.123, "step": 3, "key": 17, "warning": "premature end"}',
    ),
    (DamageRow(31), '{"kind": "damage", "time": 1700000000.123, "count": 31}'),
]


@pytest.mark.parametrize(("row", "line"), GOLDEN)
def test_a_row_is_written_and_read(row, line):
    assert format_row(row, 1700000000.1234) == line
    assert parse_row(line) == (1700000000.123, row)
    assert parse_row(f"2021-06-19T10:00:00.123456789Z {line}\n") == (1700000000.123, row)
    assert is_row(line) and is_row(f"10:00 {line}")


def test_every_kind_is_among_them():
    assert {type(row) for row, _ in GOLDEN} == set(KINDS.values())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_null(value):
    line = format_row(StepRow(1, 0, {"loss": value}, 0.1, 9.0, 0.0), 0.0)
    assert '"loss": null' in line
    assert parse_row(line)[1].figures == {"loss": None}


def test_rows_of_older_and_newer_logs():
    row = parse_row('{"kind": "step", "step": 5, "loss": 1, "lr": 0.1, "two words": 1}')[1]
    assert row == StepRow(5, 0, {"loss": 1.0}, 0.1, None, None)
    assert parse_row('{"kind": "saved", "step": 5, "number": 1}') == (None, SavedRow(5, 1, ""))
    assert parse_row('{"kind": "start"}') == (None, StartRow(None, None, None, None))
    assert parse_row('{"kind": "weather", "step": "sunny"}') is None


@pytest.mark.parametrize(
    "line", ["", "[1]", '{"a": 1}', '{"kind": "step"}', '{"kind": "saved", "step": 1}', "[" * 99999]
)
def test_a_line_that_is_no_row(line):
    with pytest.raises(ValueError, match=r"^\w+Error: "):
        parse_row(line)
