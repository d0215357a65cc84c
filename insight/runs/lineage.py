"""The lineage of a model: the training stages that led to a checkpoint, each with its data, options and versions.

A stage is one run of train-softmax. ``PREFIX-log.jsonl`` has its options and the checkpoints that it saved, and the
option ``pretrained`` names the previous stage. A shipped model has no log. Its stages are in a separate file,
``PREFIX-lineage.json``, or in the metadata of an ONNX file, under the key :data:`PROPERTY`::

    {"version": 1, "epoch": 0, "stages": [{"name": "softmax/model", "log": "model-log.jsonl", "started": 1700000000.5,
      "set_fingerprint": "4a66...", "options": {...}, "steps": 1305, "versions": {"mxnet": "1.9.1", ...}}, ...]}

Stages are in chronological order. Paths may be private, so these files have only the last component of the log's path
and of options that are paths (:data:`PATHS`).
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ..errors import InsightError
from ..files.commit import Staging
from ..files.text import open_text
from .jsonl import AVERAGES, AveragesSavedRow, Row, SavedRow, StartRow, log_path, parse_row

PROPERTY = "lineage"  # key in the metadata of an ONNX file
VERSION = 1
LAST_TIME = 253402300800  # Unix time of the year 10000
PATHS = ("data_dir", "prefix", "pretrained", "teacher", "teacher_file")  # options that are paths


class Stage(NamedTuple):
    """One training run, up to the checkpoint that was used.

    Attributes
    ----------
    name : str
        The last two components of the prefix, such as ``arcface/model``.
    log : str
        Path of the log; only its file name if the stage was read from a shipped model.
    started : float
        Unix time in seconds.
    set_fingerprint : str
        Hash of the training set (:meth:`insight.formats.faceset.FaceSet.fingerprint`).
    options : dict
        All options of train-softmax.
    steps : int
        Number of steps until the checkpoint; that of the whole run if the log has no checkpoint.
    versions : dict of str to str
        Versions of insight, mxnet, numpy and python; empty in older logs.
    """

    name: str
    log: str
    started: float
    set_fingerprint: str
    options: dict
    steps: int
    versions: dict


class _Run(NamedTuple):
    """A run in a log up to a saved checkpoint, and the Unix time at which that was saved."""

    stage: Stage
    saved: float


def path(prefix: str) -> Path:
    """Return the path of the lineage file of a shipped checkpoint."""
    return Path(f"{prefix}-lineage.json")


def stages(prefix: str, epoch: Optional[int] = None) -> List[Stage]:
    """Return the training stages that led to a checkpoint, in chronological order; [] if none is known.

    ``PREFIX-lineage.json`` is used if it has the given epoch, or if none is given; otherwise ``PREFIX-log.jsonl``. If
    a log has several runs, the last one that saved the epoch is used. Earlier stages are found by the option
    ``pretrained``: first at the same location relative to this stage, then at the path of the option. The search ends
    at a stage without a log, or at one that was already found. Damaged lines of a log are ignored.

    Parameters
    ----------
    prefix : str
        Prefix of the checkpoint.
    epoch : int, optional
        Number of the checkpoint; default: the last run of the prefix.

    Raises
    ------
    InsightError
        ``PREFIX-lineage.json`` is damaged.
    """
    chain: List[Stage] = []
    seen: Set[Tuple[str, float]] = set()
    while True:
        shipped = _shipped(prefix, epoch)
        if shipped is not None:
            return shipped + chain
        stage = _stage(prefix, epoch, chain[0].started if chain else math.inf)
        if stage is None or (os.path.realpath(stage.log), stage.started) in seen:
            return chain
        seen.add((os.path.realpath(stage.log), stage.started))
        chain.insert(0, stage)
        before, _, number = str(stage.options.get("pretrained") or "").rpartition(",")
        if not before or not number.strip().isdecimal():
            return chain
        prefix, epoch = _moved(prefix, stage.options, before), int(number)


def to_json(of: Sequence[Stage], epoch: Optional[int] = None) -> str:
    """Return the content of a lineage file, with the last components of paths only."""
    rows = [{**stage._asdict(), "log": os.path.basename(stage.log), "options": _public(stage.options)} for stage in of]
    return json.dumps({"version": VERSION, "epoch": epoch, "stages": rows})


def add(staging: Staging, prefix: str, of: Sequence[Stage], epoch: Optional[int] = None) -> None:
    """Write ``PREFIX-lineage.json`` in the same commit as the model.

    Without stages nothing is written, and the lineage of a model that the commit replaces is removed.

    Parameters
    ----------
    staging : insight.files.commit.Staging
        Staging of the commit that writes the model into the folder of the prefix.
    prefix : str
    of : sequence of Stage
    epoch : int, optional
        Number of the checkpoint; None for other files, such as ncnn's. If a checkpoint has the same prefix as such a
        file, its lineage is kept if both have the same stages, or if the stages of the file are not known.
    """
    old = outdates(prefix, of, epoch)
    if of and (old or not path(prefix).exists()):
        staging.path(path(prefix).name).write_text(to_json(of, epoch) + "\n", encoding="utf-8")
    elif old:
        staging.obsolete.append(path(prefix).name)


def outdates(prefix: str, of: Sequence[Stage], epoch: Optional[int] = None) -> bool:
    """Whether there is a lineage file that :func:`add` would replace or remove."""
    if epoch is not None:
        return path(prefix).exists()
    try:
        document = _document(prefix)
    except InsightError:
        return True
    if document is None:
        return False
    number, shipped = document
    return shipped != _parsed(to_json(of), prefix)[1] if of else number is None


def from_metadata(metadata: Mapping[str, str]) -> List[Stage]:
    """Return the stages in the metadata of an ONNX file; [] if there are none.

    Raises
    ------
    InsightError
        The property is not a valid lineage.
    """
    text = metadata.get(PROPERTY)
    return [] if text is None else _parsed(text, f"metadata {PROPERTY!r}")[1]


def _shipped(prefix: str, epoch: Optional[int]) -> Optional[List[Stage]]:
    """Return the stages of an epoch from ``PREFIX-lineage.json``; None if it does not have this epoch."""
    document = _document(prefix)
    return document[1] if document is not None and epoch in (None, document[0]) else None


def _document(prefix: str) -> Optional[Tuple[Optional[int], List[Stage]]]:
    """Return (epoch or None, stages) from ``PREFIX-lineage.json``; None if there is no such file."""
    if not path(prefix).exists():
        return None
    with open_text(path(prefix), "want a lineage", errors="replace") as source:
        return _parsed(source.read(), str(path(prefix)))


def _parsed(text: str, source: str) -> Tuple[Optional[int], List[Stage]]:
    """Parse the result of :func:`to_json`; return (epoch or None, stages)."""
    try:
        document = json.loads(text)
        if document["version"] != VERSION:
            raise ValueError(f"version {document['version']!r}")
        parsed = [Stage(**{field: row[field] for field in Stage._fields}) for row in document["stages"]]
        if not all(isinstance(stage.options, dict) and isinstance(stage.versions, dict) for stage in parsed):
            raise ValueError("options or versions that are no object")
        texts = [text for stage in parsed for text in (*stage[:2], stage.set_fingerprint, *stage.versions.values())]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("a name, log, fingerprint or version that is no text")
        return document["epoch"], [stage._replace(started=_time(stage.started)) for stage in parsed]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        what = f"{type(error).__name__}: {error}"[:120]
        raise InsightError(
            f"{source}: not a lineage of version {VERSION} ({what}), want one; remove it, or export the model again"
        ) from None


def _stage(prefix: str, epoch: Optional[int], before: float) -> Optional[Stage]:
    """Return the last run that saved a checkpoint before a time, else the last that saved it; None if there is none."""
    runs = _runs(prefix, epoch)
    runs = [run for run in runs if run.saved < before] or runs
    return runs[-1].stage if runs else None


def _runs(prefix: str, epoch: Optional[int]) -> List[_Run]:
    """Return the runs in a prefix's log that saved an epoch, in order; for None, runs with or without a checkpoint."""
    log, kind = _log_of(prefix)
    runs: List[_Run] = []
    current: Optional[Stage] = None
    if log.is_file():
        with open_text(log, "want a log of train-softmax", errors="replace") as lines:
            for line in lines:
                if '"start"' not in line and '"saved' not in line:  # do not parse the other lines, which are most
                    continue
                time, row = _timed_row(line)
                if isinstance(row, kind):
                    if current is not None and epoch in (None, row.number):
                        runs.append(_Run(current._replace(steps=row.step), time))
                elif isinstance(row, StartRow):
                    current = _started(time, row, prefix, log)
                    if current is not None and epoch is None:
                        runs.append(_Run(current, current.started))
                elif row is None and '"start"' in line:  # a damaged start: later rows are of an unknown run
                    current = None
    return runs


def _log_of(prefix: str) -> Tuple[Path, type]:
    """Return the log with the checkpoints of a prefix, and the class of the rows that name them."""
    own, run = log_path(prefix), prefix[: -len(AVERAGES)]
    averages = prefix.endswith(AVERAGES) and not own.is_file()
    return (log_path(run), AveragesSavedRow) if averages else (own, SavedRow)


def _timed_row(line: str) -> Tuple[float, Optional[Row]]:
    """Return time and row of a log line; the row is None if the line is damaged or of an unknown kind."""
    try:
        time, row = parse_row(line) or (0, None)
        return _time(time), row
    except (ValueError, TypeError, OverflowError):
        return 0.0, None


def _started(time: float, row: StartRow, prefix: str, log: Path) -> Optional[Stage]:
    """Return the stage that a row begins; None if the row is damaged."""
    if not isinstance(row.options, dict):
        return None
    try:
        steps = int(row.steps)  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError):
        return None
    name = "/".join(Path(os.path.abspath(prefix)).parts[-2:])
    versions = row.versions if isinstance(row.versions, dict) else {}
    versions = {package: str(version) for package, version in versions.items()}
    return Stage(name, str(log), time, str(row.set or ""), row.options, steps, versions)


def _time(value: Any) -> float:
    """Convert a value to Unix time in seconds. Raises ValueError before 1970 and from the year 10000 on."""
    seconds = float(value)
    if not 0 <= seconds < LAST_TIME:
        raise ValueError(f"time {value!r}")
    return seconds


def _moved(prefix: str, options: dict, pretrained: str) -> str:
    """Return the prefix of the previous stage, even if it was moved together with this one."""
    was = str(options.get("prefix") or "")
    if was and os.path.isabs(was) == os.path.isabs(pretrained):
        way = os.path.relpath(pretrained, os.path.dirname(was) or os.curdir)
        beside = os.path.normpath(os.path.join(os.path.dirname(prefix), way))
        if path(beside).exists() or log_path(beside).exists():
            return beside
    return pretrained


def _public(options: dict) -> dict:
    """Return the options with only the last component of paths."""
    return {
        key: os.path.basename(os.path.normpath(value)) if key in PATHS and isinstance(value, str) and value else value
        for key, value in options.items()
    }
