"""Logs of training runs as curves: ``PREFIX-log.jsonl`` of train-softmax, and InsightFace's text.

The JSONL has one object a line, of the kinds ``start``, ``step``, ``verification`` and ``saved``
(insight/runs/journal.py); of the text :mod:`.textlog` has the lines. Either kind may have anything in front of a
line, such as the time stamps of Docker, and terminal colours; files are opened as :mod:`.text` says.

Where a later line's step is not beyond that of an earlier one, a run was begun or resumed under the same name:
what stands before it from that step on is replaced.
"""

from __future__ import annotations

import json
import math
import os
import re
from bisect import bisect_left
from collections import Counter
from itertools import chain
from typing import Dict, Iterable, List, NamedTuple, Optional, Tuple

import numpy as np

from ..errors import InsightError, printable
from ..files.text import BLANK, open_text
from .textlog import read_text_log

CURVES = ("loss", "acc", "acc_free", "lr", "speed", "wait", "cpu")
_JSON = re.compile(r'\{\s*"')
_JSONL = re.compile(r'^\s*\{\s*"|\{\s*"kind"\s*:')  # a line of train-softmax's log, behind a time stamp too
_COLOURS = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")  # ECMA-48
_LAST_STEP = 1 << 53
_WANT = "want the PREFIX-log.jsonl of train-softmax, or the text that InsightFace's training printed"


class Curve:
    """Values over rising steps."""

    def __init__(self) -> None:
        self.steps: List[int] = []
        self.values: List[float] = []

    def __len__(self) -> int:
        return len(self.steps)

    def add(self, step: int, value: Optional[float]) -> None:
        """Append a point; one that is not beyond the last replaces all from its step on. None is not a number."""
        while self.steps and self.steps[-1] >= step:
            self.steps.pop()
            self.values.pop()
        self.steps.append(step)
        self.values.append(math.nan if value is None else float(value))

    def arrays(self) -> Tuple[np.ndarray, np.ndarray]:
        """(N,) int64 steps and (N,) float64 values."""
        return np.array(self.steps, np.int64), np.array(self.values, np.float64)

    def __contains__(self, step: int) -> bool:
        return self._position(step) is not None

    def at(self, step: int) -> float:
        """The value of a step, NaN where there is none."""
        position = self._position(step)
        return math.nan if position is None else self.values[position]

    def _position(self, step: int) -> Optional[int]:
        position = bisect_left(self.steps, step)
        return position if position < len(self.steps) and self.steps[position] == step else None


class Target(NamedTuple):
    """One verification set: accuracy, its standard deviation over folds, mean length of an embedding."""

    accuracy: Curve
    std: Curve
    xnorm: Curve


class Best(NamedTuple):
    """The best verification of a run: its step, the checkpoint's number (None: the log tells none), accuracies."""

    step: int
    number: Optional[int]
    accuracies: Dict[str, float]


class TrainLog:
    """One run.

    Attributes
    ----------
    label : str
        Its name in pictures and tables.
    curves : dict
        Of :data:`CURVES` those that the log holds. ``acc`` is with the margin, ``acc_free`` without; speed in
        images a second; ``wait`` the share of the time that training waited for data;
        ``cpu`` its processor time as a share of what its threads could have had.
    targets : dict
        Name to :class:`Target`, in the order in which they are verified.
    saved : Curve
        Numbers of the checkpoints over the steps at which they were saved.
    """

    def __init__(self, label: str):
        self.label = printable(label)
        self.clear()

    def clear(self) -> None:
        """Forget everything: another run begins."""
        self.curves: Dict[str, Curve] = {}
        self.targets: Dict[str, Target] = {}
        self.saved = Curve()

    def add(self, name: str, step: int, value: Optional[float]) -> None:
        """Append to a curve; names that are none are passed over."""
        if name in CURVES:
            self.curves.setdefault(name, Curve()).add(step, value)

    def target(self, name: str) -> Target:
        """A target's curves, made where they are not there yet."""
        return self.targets.setdefault(name, Target(Curve(), Curve(), Curve()))

    def last_step(self) -> int:
        """The last step that anything is known of."""
        curves = [*self.curves.values(), *(target.accuracy for target in self.targets.values())]
        return max(curve.steps[-1] for curve in curves if len(curve))

    def best_of(self, target: str) -> Best:
        """The highest accuracy of one target; of equal ones a saved one, then the later.

        Step 0, the network before training, counts only where there is no other.
        """
        accuracy = self.targets[target].accuracy
        steps = [step for step in accuracy.steps if step] or accuracy.steps
        step = max(steps, key=lambda s: (_rank(accuracy.at(s)), not math.isnan(self.saved.at(s)), s))
        return self._best(step, [target])

    def best(self) -> Optional[Best]:
        """The verification that train-softmax calls the best: the last target decides, then the sum, then the later.

        None where no step has all targets.
        """
        names = list(self.targets)
        common = set.intersection(*(set(self.targets[name].accuracy.steps) for name in names)) if names else set()
        steps = [step for step in common if step] or list(common)
        if not steps:
            return None

        def score(step: int) -> tuple:
            values = [_rank(self.targets[name].accuracy.at(step)) for name in names]
            return values[-1], sum(values), step

        return self._best(max(steps, key=score), names)

    def _best(self, step: int, names: Iterable[str]) -> Best:
        number = self.saved.at(step)
        accuracies = {name: self.targets[name].accuracy.at(step) for name in names}
        return Best(step, None if math.isnan(number) else int(number), accuracies)


def _rank(value: float) -> float:
    """NaN below all."""
    return -math.inf if math.isnan(value) else value


def read_log(path, label: str = "") -> TrainLog:
    """Read the last run of a log, of either kind, which its content says.

    Raises
    ------
    InsightError
        The file is missing, empty or no log of training, or a line of the JSONL is damaged.
    """
    log = TrainLog(label or os.path.basename(path))
    with open_text(path, _WANT, errors="replace") as file:
        lines = enumerate(map(_plain, file), 1)
        first = next((pair for pair in lines if pair[1].strip(BLANK)), None)
        if first is None:
            raise InsightError(f"{path}: empty; {_WANT}")
        lines = chain([first], lines)
        if _JSONL.search(first[1]):
            _read_jsonl(lines, log, os.fspath(path))
        else:
            read_text_log(lines, log)
    log.targets = {name: target for name, target in log.targets.items() if len(target.accuracy)}
    if not log.curves and not log.targets:
        raise InsightError(f"{path}: has no line of a training log; {_WANT}")
    return log


def read_logs(paths: Iterable[str]) -> List[TrainLog]:
    """Read several logs, labelled by file name, with as many folders before it as tell them apart.

    Raises
    ------
    InsightError
        As :func:`read_log`; or a file is named twice.
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
    """A line without terminal colours."""
    return _COLOURS.sub("", line) if "\x1b" in line else line


def _read_jsonl(lines: Iterable[Tuple[int, str]], log: TrainLog, path: str) -> None:
    for number, line in lines:
        if not line.strip(BLANK):
            continue
        try:
            begin = _JSON.search(line)
            _take(json.loads(line[begin.start() :] if begin else line), log)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            if not line.endswith("\n"):  # the line that a running training is about to finish
                return
            what = f"{type(error).__name__}: {error}"[:120]
            raise InsightError(f"{path}:{number}: not a line of train-softmax's log ({what}); {_WANT}") from None


def _take(row: dict, log: TrainLog) -> None:
    """One object of the JSONL."""
    kind = row["kind"]
    if kind == "start":
        log.clear()
    elif kind == "step":
        for name in CURVES:
            if name in row:
                log.add(name, _step(row), row[name])
    elif kind == "verification":
        for curve, name in zip(log.target(str(row["target"])), Target._fields):
            curve.add(_step(row), row[name])
    elif kind == "saved":
        log.saved.add(_step(row), int(row["number"]))


def _step(row: dict) -> int:
    step = int(row["step"])
    if not 0 <= step < _LAST_STEP:
        raise ValueError(f"step {step}")
    return step
