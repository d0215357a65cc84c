"""Rows of ``PREFIX-log.jsonl``, the log for programs: one JSON object a line, formatted and parsed here.

A row is one of the classes below; ``kind`` and ``time`` (Unix time, seconds) come first in its line::

    {"kind": "step", "time": 1700000102.5, "step": 20, "epoch": 0, "loss": 5.3, "acc": 0.1, "lr": 0.1, "speed": 99.7, …}
    {"kind": "verification", "time": 1700000110.0, "target": "lfw", "step": 20, "accuracy": 0.9, "std": 0.01, …}
    {"kind": "saved", "time": 1700000111.0, "step": 20, "number": 1, "path": "models/y1-0001.params"}

A number that is not finite is null in the file, and None in a row that was read.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union

from .stepfigures import is_name

_LAST_STEP = 1 << 53
_OBJECT = re.compile(r'\{\s*"')
_ROW = re.compile(r'^\s*\{\s*"|\{\s*"kind"\s*:')


class StartRow(NamedTuple):
    """A run begins: its options, the fingerprint of its set, its length in steps, versions of what it runs on.

    In a row that was read, values are as the file has them, None if missing.
    """

    options: Optional[dict]
    set: Optional[str]
    steps: Optional[int]
    versions: Optional[Dict[str, str]]

    @classmethod
    def read(cls, values: dict) -> StartRow:
        """The row of a JSON object."""
        return cls(*map(values.get, cls._fields))


class StepRow(NamedTuple):
    """Means over the steps since the row before: figures, images/s, share of the time that training waited for data.

    ``lr`` is the step's own, ``cpu`` the share of the cores (None if not measured), ``skipped`` the number of skipped
    updates.
    """

    step: int
    epoch: int
    figures: Dict[str, Optional[float]]
    lr: Optional[float]
    speed: Optional[float]
    wait: Optional[float]
    cpu: Optional[float] = None
    skipped: int = 0

    def to_json(self) -> dict:
        """The JSON object: figures under their names, ``cpu`` and ``skipped`` only if there is something to log."""
        values = {"step": self.step, "epoch": self.epoch, **self.figures}
        values.update(lr=self.lr, speed=self.speed, wait=self.wait)
        if self.cpu is not None:
            values["cpu"] = self.cpu
        if self.skipped:
            values["skipped"] = self.skipped
        return values

    @classmethod
    def read(cls, values: dict) -> StepRow:
        """The row of a JSON object; a column that is missing is None."""
        figures = {name: _number(value) for name, value in values.items() if is_name(name)}
        columns = (_number(values.get(name)) for name in ("lr", "speed", "wait", "cpu"))
        return cls(_step(values), int(values.get("epoch", 0)), figures, *columns, int(values.get("skipped", 0)))


class VerificationRow(NamedTuple):
    """Accuracy on one set, its standard deviation over the folds, and the mean length of an embedding."""

    target: str
    step: int
    accuracy: Optional[float]
    std: Optional[float]
    xnorm: Optional[float]

    @classmethod
    def read(cls, values: dict) -> VerificationRow:
        """The row of a JSON object."""
        return cls(str(values["target"]), _step(values), *(_number(values[name]) for name in cls._fields[2:]))


class SavedRow(NamedTuple):
    """A checkpoint was saved: its number and file."""

    step: int
    number: int
    path: str

    @classmethod
    def read(cls, values: dict) -> SavedRow:
        """The row of a JSON object; older logs have no path."""
        return cls(_step(values), int(values["number"]), str(values.get("path", "")))


class AveragesSavedRow(NamedTuple):
    """As :class:`SavedRow`, of the averages of ``--ema``, whose prefix ends in ``-ema``."""

    step: int
    number: int
    path: str

    @classmethod
    def read(cls, values: dict) -> AveragesSavedRow:
        """The row of a JSON object."""
        return cls(_step(values), int(values["number"]), str(values["path"]))


class HistogramRow(NamedTuple):
    """Counts of a figure in equal bins from ``low`` to ``high``, over the steps since the verification before."""

    name: str
    step: int
    low: float
    high: float
    counts: List[int]

    @classmethod
    def read(cls, values: dict) -> HistogramRow:
        """The row of a JSON object."""
        counts = [int(count) for count in values["counts"]]
        return cls(str(values["name"]), _step(values), float(values["low"]), float(values["high"]), counts)


class MinedRow(NamedTuple):
    """A bag of images was embedded: its size, its place in the walk, triplets found, images of all batches that wait;
    seconds of choosing, embedding and picking so far.
    """

    step: int
    images: int
    begin: int
    triplets: int
    queued: int
    seconds: List[float]

    @classmethod
    def read(cls, values: dict) -> MinedRow:
        """The row of a JSON object."""
        counts = (int(values[name]) for name in cls._fields[1:5])
        return cls(_step(values), *counts, [float(second) for second in values["seconds"]])


class DamagedRow(NamedTuple):
    """A record decoded with a warning."""

    step: int
    key: int
    warning: str

    @classmethod
    def read(cls, values: dict) -> DamagedRow:
        """The row of a JSON object."""
        return cls(_step(values), int(values["key"]), str(values["warning"]))


class DamageRow(NamedTuple):
    """Number of the damaged records of a run, if it is more than there are rows of them."""

    count: int

    @classmethod
    def read(cls, values: dict) -> DamageRow:
        """The row of a JSON object."""
        return cls(int(values["count"]))


Row = Union[
    StartRow, StepRow, VerificationRow, SavedRow, AveragesSavedRow, HistogramRow, MinedRow, DamagedRow, DamageRow
]
KINDS = {
    "start": StartRow,
    "step": StepRow,
    "verification": VerificationRow,
    "saved": SavedRow,
    "saved_averages": AveragesSavedRow,
    "histogram": HistogramRow,
    "mined": MinedRow,
    "damaged": DamagedRow,
    "damage": DamageRow,
}


AVERAGES = "-ema"  # what the prefix of a run's averages (--ema) ends in, behind the run's own


def log_path(prefix: str) -> Path:
    """The log of a checkpoint prefix."""
    return Path(f"{prefix}-log.jsonl")


def format_row(row: Row, time: float) -> str:
    """The line of a row, without its end."""
    kind = next(kind for kind, cls in KINDS.items() if isinstance(row, cls))
    values = row.to_json() if isinstance(row, StepRow) else row._asdict()
    finite = {name: None if _is_infinite(value) else value for name, value in values.items()}
    return json.dumps({"kind": kind, "time": round(time, 3), **finite})


def parse_row(line: str) -> Optional[Tuple[Any, Row]]:
    """(time as the file has it, row) of a line that may have a time stamp in front; None for a kind not known here.

    Raises
    ------
    ValueError
        The line is not a row.
    """
    try:
        start = _OBJECT.search(line)
        values = json.loads(line[start.start() :] if start else line)
        cls = KINDS.get(values["kind"])
        return None if cls is None else (values.get("time"), cls.read(values))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}"[:120]) from None


def is_row(line: str) -> bool:
    """Whether a line is meant as a row, behind a time stamp or not."""
    return _ROW.search(line) is not None


def _is_infinite(value) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _number(value) -> Optional[float]:
    return None if value is None else float(value)


def _step(values: dict) -> int:
    step = int(values["step"])
    if not 0 <= step < _LAST_STEP:
        raise ValueError(f"step {step}")
    return step
