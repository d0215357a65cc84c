"""Formatting and parsing of the rows of ``PREFIX-log.jsonl``, the log for programs, with one JSON object per line.

A row is one of the classes below. In its line, ``kind`` and ``time`` (Unix time in seconds) come first::

    {"kind": "step", "time": 1700000102.5, "step": 20, "epoch": 0, "loss": 5.3, "acc": 0.1, "lr": 0.1, "speed": 99.7, …}
    {"kind": "verification", "time": 1700000110.0, "target": "lfw", "step": 20, "accuracy": 0.9, "std": 0.01, …}
    {"kind": "saved", "time": 1700000111.0, "step": 20, "number": 1, "path": "models/y1-0001.params"}

A number that is not finite is written as null, and read as None.
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
    """The start of a run: options, fingerprint of the training set, number of steps, and versions of packages.

    Values that are read are not validated; missing ones are None.
    """

    options: Optional[dict]
    set: Optional[str]
    steps: Optional[int]
    versions: Optional[Dict[str, str]]

    @classmethod
    def read(cls, values: dict) -> StartRow:
        """Create a row from a JSON object."""
        return cls(*map(values.get, cls._fields))


class StepRow(NamedTuple):
    """Means over the steps since the previous row.

    ``figures`` are those of the objective, ``lr`` the learning rate of this step, ``speed`` is in images/s, ``wait``
    the share of the time that training waited for data, ``cpu`` the share of the cores that it got (None if not
    measured), and ``skipped`` the number of skipped updates.
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
        """Return the JSON object. ``cpu`` is omitted if it was not measured, ``skipped`` if it is 0."""
        values = {"step": self.step, "epoch": self.epoch, **self.figures}
        values.update(lr=self.lr, speed=self.speed, wait=self.wait)
        if self.cpu is not None:
            values["cpu"] = self.cpu
        if self.skipped:
            values["skipped"] = self.skipped
        return values

    @classmethod
    def read(cls, values: dict) -> StepRow:
        """Create a row from a JSON object. Missing columns become None."""
        figures = {name: _number(value) for name, value in values.items() if is_name(name)}
        columns = (_number(values.get(name)) for name in ("lr", "speed", "wait", "cpu"))
        return cls(_step(values), int(values.get("epoch", 0)), figures, *columns, int(values.get("skipped", 0)))


class VerificationRow(NamedTuple):
    """Accuracy on one verification set, its standard deviation over the folds, and the mean norm of embeddings."""

    target: str
    step: int
    accuracy: Optional[float]
    std: Optional[float]
    xnorm: Optional[float]

    @classmethod
    def read(cls, values: dict) -> VerificationRow:
        """Create a row from a JSON object."""
        return cls(str(values["target"]), _step(values), *(_number(values[name]) for name in cls._fields[2:]))


class SavedRow(NamedTuple):
    """Number and path of a checkpoint that was saved."""

    step: int
    number: int
    path: str

    @classmethod
    def read(cls, values: dict) -> SavedRow:
        """Create a row from a JSON object. Older logs have no path."""
        return cls(_step(values), int(values["number"]), str(values.get("path", "")))


class AveragesSavedRow(NamedTuple):
    """As :class:`SavedRow`, for the averaged weights of ``--ema``, whose prefix ends in ``-ema``."""

    step: int
    number: int
    path: str

    @classmethod
    def read(cls, values: dict) -> AveragesSavedRow:
        """Create a row from a JSON object."""
        return cls(_step(values), int(values["number"]), str(values["path"]))


class HistogramRow(NamedTuple):
    """Counts of a figure in equal bins from ``low`` to ``high``, over the steps since the previous verification."""

    name: str
    step: int
    low: float
    high: float
    counts: List[int]

    @classmethod
    def read(cls, values: dict) -> HistogramRow:
        """Create a row from a JSON object."""
        counts = [int(count) for count in values["counts"]]
        return cls(str(values["name"]), _step(values), float(values["low"]), float(values["high"]), counts)


class MinedRow(NamedTuple):
    """A bag of images in which triplets were searched.

    ``images`` is its size, ``begin`` its position in the sampler's order of the set, ``triplets`` the number of
    triplets found, ``queued`` the number of images in all batches that are queued. ``seconds`` are the times spent so
    far on choosing images, embedding them and searching triplets.
    """

    step: int
    images: int
    begin: int
    triplets: int
    queued: int
    seconds: List[float]

    @classmethod
    def read(cls, values: dict) -> MinedRow:
        """Create a row from a JSON object."""
        counts = (int(values[name]) for name in cls._fields[1:5])
        return cls(_step(values), *counts, [float(second) for second in values["seconds"]])


class DamagedRow(NamedTuple):
    """A record decoded with a warning."""

    step: int
    key: int
    warning: str

    @classmethod
    def read(cls, values: dict) -> DamagedRow:
        """Create a row from a JSON object."""
        return cls(_step(values), int(values["key"]), str(values["warning"]))


class DamageRow(NamedTuple):
    """The number of damaged records of a run, logged only if not all of them have a :class:`DamagedRow`."""

    count: int

    @classmethod
    def read(cls, values: dict) -> DamageRow:
        """Create a row from a JSON object."""
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


AVERAGES = "-ema"  # appended to a run's prefix for its averaged weights (--ema)


def log_path(prefix: str) -> Path:
    """Return the path of the log of a checkpoint prefix."""
    return Path(f"{prefix}-log.jsonl")


def format_row(row: Row, time: float) -> str:
    """Return the line of a row, without a newline. ``time`` is Unix time in seconds."""
    kind = next(kind for kind, cls in KINDS.items() if isinstance(row, cls))
    values = row.to_json() if isinstance(row, StepRow) else row._asdict()
    finite = {name: None if _is_infinite(value) else value for name, value in values.items()}
    return json.dumps({"kind": kind, "time": round(time, 3), **finite})


def parse_row(line: str) -> Optional[Tuple[Any, Row]]:
    """Return (time, row) of a line, which may begin with a time stamp; None for an unknown kind. Time is not validated.

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
    """Whether a line looks like a row, with or without a time stamp before it."""
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
