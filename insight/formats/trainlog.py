"""Logs of training runs as curves: ``PREFIX-log.jsonl`` of train-softmax, and InsightFace's text.

The JSONL has one object a line, of the kinds ``start``, ``step``, ``verification`` and ``saved``
(insight/train/journal.py). The text is what ``train_softmax.py`` and its relatives print
(deepinsight/insightface@4bc81321 and 9fc3cc9c), stdout and stderr together or apart, with anything in front of
a line::

    INFO:root:Epoch[0] Batch [20-40]	Speed: 229.50 samples/sec	acc=0.294286	lossvalue=11.522861
    [2018-05-09 02:28:45]  lr-batch-epoch: 0.01 534 15
    [lfw][112000]XNorm: 11.147283
    [lfw][112000]Accuracy-Flip: 0.99517+-0.00450
    saving 56

Batches are counted within an epoch there, so a step needs the length of an epoch. Lines ``lr-batch-epoch`` stand
1000 steps apart, and before the verification of their step; either gives it exactly. Where the log has no such
line, it is the largest batch number of an epoch that ended, short of the truth by less than the interval of the
lines.

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
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple

import numpy as np

from ..errors import InsightError, printable

CURVES = ("loss", "acc", "acc_free", "lr", "speed", "wait")
LR_LINE_EVERY = 1000  # steps
_NAMES = {"lossvalue": "loss", "Train-acc": "acc", "acc-nomargin": "acc_free"}
_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf)"
_BATCH = re.compile(rf"Epoch\[(\d+)\] Batch \[(?:\d+-)?(\d+)\]\s+Speed: ({_NUMBER}) samples/sec(.*)")
_METRIC = re.compile(rf"([A-Za-z][\w-]*)=({_NUMBER})(%?)")
_RATE = re.compile(rf"lr-batch-epoch:[',\s]*({_NUMBER})[,\s]+(\d+)[,\s]+(\d+)")
_VERIFIED = re.compile(rf"\[([^\[\]]+)\]\[(\d+)\](XNorm|Accuracy-Flip): ({_NUMBER})(?:\+-({_NUMBER}))?")
_SAVING = re.compile(r"\bsaving[',\s]+(\d+)\b")
_SHARDED = re.compile(rf"\{{fc7_acc\}}[',\s]*(\d+)[,\s]+({_NUMBER})")  # train_parall.py
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
        images a second; ``wait`` the share of the time that training waited for data.
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
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            start = next((line for line in file if line.strip()), None)
            if start is None:
                raise InsightError(f"{path}: empty; {_WANT}")
            file.seek(0)
            (_read_jsonl if start.startswith('{"') else _read_text)(file, log, os.fspath(path))
    except OSError as error:
        raise InsightError(f"{path}: {error.strerror}; {_WANT}") from None
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


def _read_jsonl(lines: Iterable[str], log: TrainLog, path: str) -> None:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            kind = row["kind"]
            if kind == "start":
                log.clear()
            elif kind == "step":
                for name in CURVES:
                    if name in row:
                        log.add(name, int(row["step"]), row[name])
            elif kind == "verification":
                for curve, name in zip(log.target(row["target"]), Target._fields):
                    curve.add(int(row["step"]), row[name])
            elif kind == "saved":
                log.saved.add(int(row["step"]), int(row["number"]))
        except (ValueError, KeyError, TypeError) as error:
            if not line.endswith("\n"):  # the line that a running training is about to finish
                return
            raise InsightError(f"{path}:{number}: not a line of train-softmax's log ({error!r}); {_WANT}") from None


def _read_text(lines: Iterable[str], log: TrainLog, path: str) -> None:
    rates: List[Tuple[float, int, int]] = []  # lr, epoch, batch
    batches: List[Tuple[int, int, dict]] = []  # epoch, batch, figures
    sharded: List[Tuple[int, float]] = []  # step, accuracy
    marks: List[int] = []  # lengths of an epoch by lines that name the same step in both ways
    verified: Optional[int] = None
    for line in lines:
        for match in _VERIFIED.finditer(line):
            name, step, what, value, std = match.groups()
            verified = int(step)
            if rates and rates[-1][1] and not verified % LR_LINE_EVERY:
                length, rest = divmod(verified - rates[-1][2] - 1, rates[-1][1])
                marks += [length] if not rest else []
            if what == "XNorm":
                log.target(name).xnorm.add(verified, float(value))
            else:
                log.target(name).accuracy.add(verified, float(value))
                log.target(name).std.add(verified, float(std or "nan"))
        match = _SAVING.search(line)
        if match and verified is not None:
            log.saved.add(verified, int(match.group(1)))
        match = _SHARDED.search(line)
        if match:
            sharded.append((int(match.group(1)), float(match.group(2))))
        match = _RATE.search(line)
        if match:
            rates.append((float(match.group(1)), int(match.group(3)), int(match.group(2))))
        match = _BATCH.search(line)
        if match:
            batches.append((int(match.group(1)), int(match.group(2)), _figures(match)))
    length = epoch_length([rate[1:] for rate in rates], [batch[:2] for batch in batches], marks)
    _place(log, rates, batches, lambda epoch, batch: epoch * length + batch)
    for step, accuracy in sharded if "acc" not in log.curves else ():
        log.add("acc", step, accuracy)


def _figures(match: re.Match) -> dict:
    """Speed and metrics of a batch line; a share may be written in per cent."""
    found = {"speed": float(match.group(3))}
    for name, value, percent in _METRIC.findall(match.group(4)):
        found[_NAMES.get(name, name)] = float(value) / (100 if percent else 1)
    return found


def _place(log: TrainLog, rates: list, batches: list, step: Callable[[int, int], int]) -> None:
    for rate, epoch, batch in rates:
        log.add("lr", step(epoch, batch + 1), rate)  # batches are counted from 0 there
    for epoch, batch, found in batches:
        for name, value in found.items():
            log.add(name, step(epoch, batch), value)


def epoch_length(rates: List[Tuple[int, int]], batches: List[Tuple[int, int]], marks: Iterable[int] = ()) -> int:
    """Batches in an epoch, from the (epoch, batch) of ``lr-batch-epoch`` lines and of batch lines, in order.

    ``marks`` are lengths that were found otherwise. 0 where the log stays within one epoch, so that nothing
    depends on it.
    """
    lengths = Counter(marks)
    for (epoch, batch), (later, batch_later) in zip(rates, rates[1:]):
        if later > epoch:
            length, rest = divmod(LR_LINE_EVERY + batch - batch_later, later - epoch)
            if not rest and length > max(batch, batch_later):
                lengths[length] += 1
    if lengths:
        return lengths.most_common(1)[0][0]
    ended = [batch for (epoch, batch), (later, _) in zip(batches, batches[1:]) if later > epoch]
    known = [batch + 1 for _, batch in rates]
    return max([*ended, *known], default=0)
