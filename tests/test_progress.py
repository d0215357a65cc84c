"""Lines of progress, with a clock of ours."""

import types

import pytest

from insight import progress
from insight.progress import Pace, track


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    return now


def lines(capsys, clock, items, **options):
    """What is printed if each item takes 20 seconds, or none if it is negative."""
    for item in track(items, "aligning", unit="folders", **options):
        clock[0] += 20 if item > 0 else 0
    return capsys.readouterr().err.splitlines()


def test_units(capsys, clock):
    assert lines(capsys, clock, [1, 1, 1])[:2] == [
        "aligning: 1 of 3 folders, 0 folders/s, 40 s left",
        "aligning: 2 of 3 folders, 0 folders/s, 20 s left",
    ]


def test_pace_of_another_unit(capsys, clock):
    pace = Pace("faces", lambda item: 100 * item, lambda item: True)
    assert lines(capsys, clock, [1, 2], pace=pace)[0] == "aligning: 1 of 2 folders, 5 faces/s, 20 s left"


def test_what_was_done_before_does_not_count_for_the_time_left(capsys, clock):
    pace = Pace("faces", lambda item: 100, lambda item: item > 0)
    assert lines(capsys, clock, [-1] * 96 + [1] * 4, pace=pace) == [
        "aligning: 97 of 100 folders, 5 faces/s, 60 s left",
        "aligning: 98 of 100 folders, 5 faces/s, 40 s left",
        "aligning: 99 of 100 folders, 5 faces/s, 20 s left",
        "aligning: 100 of 100 folders, 5 faces/s, 0 s left",
    ]
