"""Reading training logs: ``PREFIX-log.jsonl`` (:mod:`.jsonl`) and InsightFace's text logs (:mod:`.textlog`).

Lines of both kinds may begin with other text, such as Docker's time stamps, and contain terminal colours. For
encodings and line ends see :mod:`insight.files.text`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from itertools import chain
from typing import Iterable, List, Tuple

from ..errors import InsightError
from ..files.text import BLANK, open_text
from .jsonl import AveragesSavedRow, HistogramRow, Row, SavedRow, StartRow, StepRow, VerificationRow, is_row, parse_row
from .stepfigures import Histogram
from .textlog import read_text_log
from .trainlog import TrainLog

_COLOURS = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")  # ECMA-48
_WANT = "want the PREFIX-log.jsonl of train-softmax, or the text that InsightFace's training printed"


def read_log(path, label: str = "") -> TrainLog:
    """Read the last run of a log. The kind of log is detected from its content.

    Raises
    ------
    InsightError
        The file is missing, empty or not a training log, or a line of the JSONL is damaged.
    """
    log = TrainLog(label or os.path.basename(path))
    with open_text(path, _WANT, errors="replace") as file:
        lines = enumerate(map(_plain, file), 1)
        first = next((pair for pair in lines if pair[1].strip(BLANK)), None)
        if first is None:
            raise InsightError(f"{path}: empty; {_WANT}")
        lines = chain([first], lines)
        if is_row(first[1]):
            _read_jsonl(lines, log, os.fspath(path))
        else:
            read_text_log(lines, log)
    log.targets = {name: target for name, target in log.targets.items() if len(target.accuracy)}
    if not log.curves and not log.targets:
        raise InsightError(f"{path}: has no line of a training log; {_WANT}")
    return log


def read_logs(paths: Iterable[str]) -> List[TrainLog]:
    """Read several logs. Labels are the file names, with as many parent folders as are needed to make them distinct.

    Raises
    ------
    InsightError
        As :func:`read_log`, or a path is given twice.
    """
    paths = [os.fspath(path) for path in paths]
    parts = [os.path.abspath(path).split(os.sep) for path in paths]
    twice = [path for path, count in Counter(map(tuple, parts)).items() if count > 1]
    if twice:
        raise InsightError(f"{os.sep.join(twice[0])}: named twice; name each log once")
    depth = 1
    while len({tuple(part[-depth:]) for part in parts}) < len(parts):
        depth += 1
    return [read_log(path, "/".join(part[-depth:])) for path, part in zip(paths, parts)]


def _plain(line: str) -> str:
    """Return a line without terminal colours."""
    return _COLOURS.sub("", line) if "\x1b" in line else line


def _read_jsonl(lines: Iterable[Tuple[int, str]], log: TrainLog, path: str) -> None:
    for number, line in lines:
        if not line.strip(BLANK):
            continue
        try:
            timed_row = parse_row(line)
        except ValueError as error:
            if not line.endswith("\n"):  # a training that is still running has not completed this line
                return
            raise InsightError(f"{path}:{number}: not a line of train-softmax's log ({error}); {_WANT}") from None
        if timed_row is not None:
            _add(timed_row[1], log)


def _add(row: Row, log: TrainLog) -> None:
    """Add a row to a log. Rows of other kinds, such as damaged records, are ignored."""
    if isinstance(row, StartRow):
        log.clear()
        log.options = row.options or {}
    elif isinstance(row, StepRow):
        columns = {"lr": row.lr, "speed": row.speed, "wait": row.wait, "cpu": row.cpu}
        for name, value in {**row.figures, **{n: v for n, v in columns.items() if v is not None}}.items():
            log.add(name, row.step, value)
    elif isinstance(row, VerificationRow):
        for name, curve in log.target(row.target)._asdict().items():
            curve.add(row.step, getattr(row, name))
    elif isinstance(row, SavedRow):
        log.saved.add(row.step, row.number)
    elif isinstance(row, AveragesSavedRow):
        log.saved_averages.add(row.step, row.number)
    elif isinstance(row, HistogramRow):
        log.add_histogram(row.name, row.step, Histogram(row.low, row.high, row.counts))
