"""Where a model comes from: the training stages behind a checkpoint, each with its data, options and versions.

A stage is one run of train-softmax. ``PREFIX-log.jsonl`` says how it began and which checkpoints it saved, and its
option ``pretrained`` leads to the stage before. What ships has no log beside it, so there the stages stand in a file
of their own, ``PREFIX-lineage.json``, or in the metadata of an ONNX file, under :data:`PROPERTY`::

    {"version": 1, "epoch": 0, "stages": [{"name": "softmax/model", "log": "model-log.jsonl", "started": 1700000000.5,
      "set_fingerprint": "4a66...", "options": {...}, "steps": 1305, "versions": {"mxnet": "1.9.1", ...}}, ...]}

The latest stage is the last. Paths are the owner's business: in files, the log and the options ``data_dir``,
``prefix`` and ``pretrained`` keep their last part only.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ..errors import InsightError
from ..files.commit import Staging
from ..files.text import open_text

PROPERTY = "lineage"  # of an ONNX file's metadata
VERSION = 1
LAST_TIME = 253402300800  # Unix time of the year 10000
PATHS = ("data_dir", "prefix", "pretrained")  # options that name files of the machine that trained


class Stage(NamedTuple):
    """One training run, as far as the checkpoint that was taken from it.

    Attributes
    ----------
    name : str
        The prefix's last two parts: ``arcface/model``.
    log : str
        Path of its log; the file name alone where it was read from what ships.
    started : float
        Unix time, seconds.
    set_fingerprint : str
        Hash of the training set (:meth:`insight.formats.faceset.FaceSet.fingerprint`).
    options : dict
        Every option of train-softmax.
    steps : int
        Steps that the checkpoint was trained for; of the whole run where the log does not say.
    versions : dict of str to str
        Of insight, mxnet, numpy and python; empty in older logs.
    """

    name: str
    log: str
    started: float
    set_fingerprint: str
    options: dict
    steps: int
    versions: dict


class _Run(NamedTuple):
    """A run in a log, and when and after how many steps it saved the checkpoint in question."""

    stage: Stage
    saved: float


def path(prefix: str) -> Path:
    """Where the lineage of a checkpoint that ships stands."""
    return Path(f"{prefix}-lineage.json")


def stages(prefix: str, epoch: Optional[int] = None) -> List[Stage]:
    """The training stages behind a checkpoint, the latest last; none where nothing is known.

    Reads ``PREFIX-lineage.json`` where it is of that epoch, or none is given, else ``PREFIX-log.jsonl``: of several
    runs under one prefix, the last that saved the epoch. The stages before are those of the option ``pretrained``,
    looked for where they stood in relation to this one, then where the option says. A stage without a log, or one
    seen already, is the end. Damaged lines of a log are passed over.

    Parameters
    ----------
    prefix : str
        Of the checkpoint.
    epoch : int, optional
        Its number; the prefix's last run where missing.

    Raises
    ------
    InsightError
        ``PREFIX-lineage.json`` is damaged.
    """
    found: List[Stage] = []
    seen: Set[Tuple[str, float]] = set()
    while True:
        shipped = _shipped(prefix, epoch)
        if shipped is not None:
            return shipped + found
        stage = _stage(prefix, epoch, found[0].started if found else math.inf)
        if stage is None or (os.path.realpath(stage.log), stage.started) in seen:
            return found
        seen.add((os.path.realpath(stage.log), stage.started))
        found.insert(0, stage)
        before, _, number = str(stage.options.get("pretrained") or "").rpartition(",")
        if not before or not number.strip().isdecimal():
            return found
        prefix, epoch = _moved(prefix, stage.options, before), int(number)


def to_json(of: Sequence[Stage], epoch: Optional[int] = None) -> str:
    """What a file holds: the stages, without the paths of the machine that trained."""
    rows = [{**stage._asdict(), "log": os.path.basename(stage.log), "options": _public(stage.options)} for stage in of]
    return json.dumps({"version": VERSION, "epoch": epoch, "stages": rows})


def add(staging: Staging, prefix: str, of: Sequence[Stage], epoch: Optional[int] = None) -> None:
    """Let ``PREFIX-lineage.json`` appear with the files that it is of.

    Without stages nothing is written, and the lineage of what the commit replaces goes.

    Parameters
    ----------
    staging : insight.files.commit.Staging
        Of the commit that writes the model into the prefix's folder.
    prefix : str
    of : sequence of Stage
    epoch : int, optional
        The checkpoint of the prefix that it is of; None: of another file, such as ncnn's. A checkpoint may share the
        prefix with that: its lineage stays where it is the same, or that of the file is not known.
    """
    old = outdates(prefix, of, epoch)
    if of and (old or not path(prefix).exists()):
        staging.path(path(prefix).name).write_text(to_json(of, epoch) + "\n", encoding="utf-8")
    elif old:
        staging.obsolete.append(path(prefix).name)


def outdates(prefix: str, of: Sequence[Stage], epoch: Optional[int] = None) -> bool:
    """Whether a lineage stands there that :func:`add` replaces or removes."""
    if epoch is not None:
        return path(prefix).exists()
    try:
        held = _document(prefix)
    except InsightError:
        return True
    if held is None:
        return False
    only, found = held
    return found != _parsed(to_json(of), prefix)[1] if of else only is None


def from_metadata(metadata: Mapping[str, str]) -> List[Stage]:
    """The stages that an ONNX file's metadata holds; none where it holds none.

    Raises
    ------
    InsightError
        The property is there and is no lineage.
    """
    text = metadata.get(PROPERTY)
    return [] if text is None else _parsed(text, f"metadata {PROPERTY!r}")[1]


def _shipped(prefix: str, epoch: Optional[int]) -> Optional[List[Stage]]:
    """What ``PREFIX-lineage.json`` says of an epoch; None where it says nothing."""
    held = _document(prefix)
    return held[1] if held is not None and epoch in (None, held[0]) else None


def _document(prefix: str) -> Optional[Tuple[Optional[int], List[Stage]]]:
    """(epoch or None, stages) in ``PREFIX-lineage.json``; None where there is none."""
    if not path(prefix).exists():
        return None
    with open_text(path(prefix), "want a lineage", errors="replace") as source:
        return _parsed(source.read(), str(path(prefix)))


def _parsed(text: str, source: str) -> Tuple[Optional[int], List[Stage]]:
    """(epoch or None, stages) of what :func:`to_json` wrote."""
    try:
        document = json.loads(text)
        if document["version"] != VERSION:
            raise ValueError(f"version {document['version']!r}")
        found = [Stage(**{field: row[field] for field in Stage._fields}) for row in document["stages"]]
        if not all(isinstance(stage.options, dict) and isinstance(stage.versions, dict) for stage in found):
            raise ValueError("options or versions that are no object")
        texts = [text for stage in found for text in (*stage[:2], stage.set_fingerprint, *stage.versions.values())]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("a name, log, fingerprint or version that is no text")
        return document["epoch"], [stage._replace(started=_time(stage.started)) for stage in found]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        what = f"{type(error).__name__}: {error}"[:120]
        raise InsightError(
            f"{source}: not a lineage of version {VERSION} ({what}), want one; remove it, or export the model again"
        ) from None


def _stage(prefix: str, epoch: Optional[int], before: float) -> Optional[Stage]:
    """The run that saved a checkpoint: the last, of those that had done so before a time if there are such."""
    runs = _runs(prefix, epoch)
    runs = [run for run in runs if run.saved < before] or runs
    return runs[-1].stage if runs else None


def _runs(prefix: str, epoch: Optional[int]) -> List[_Run]:
    """Runs of a prefix's log that saved an epoch (None: anything, or nothing yet), in order."""
    log = Path(f"{prefix}-log.jsonl")
    runs: List[_Run] = []
    current: Optional[Stage] = None
    if log.is_file():
        with open_text(log, "want a log of train-softmax", errors="replace") as lines:
            for line in lines:
                if '"start"' in line:
                    current = _started(line, prefix, log)
                    if current is not None and epoch is None:
                        runs.append(_Run(current, current.started))
                elif current is not None and '"saved"' in line:
                    row = _row(line, "saved")
                    if row and epoch in (None, row.get("number")):
                        runs.append(_Run(current._replace(steps=int(row["step"])), float(row["time"])))
    return runs


def _started(line: str, prefix: str, log: Path) -> Optional[Stage]:
    """A run's first line; None where it is damaged, so that nothing after it counts as the run before's."""
    row = _row(line, "start")
    if row is None or not isinstance(row.get("options"), dict):
        return None
    name = "/".join(Path(os.path.abspath(prefix)).parts[-2:])
    given = row.get("versions") if isinstance(row.get("versions"), dict) else {}
    versions = {package: str(version) for package, version in given.items()}
    return Stage(name, str(log), float(row["time"]), str(row.get("set", "")), row["options"], row["step"], versions)


def _row(line: str, kind: str) -> Optional[Dict]:
    """A line of that kind, its ``time`` and ``step`` (or ``steps``) numbers; None where it is not."""
    try:
        row = json.loads(line)
        if row["kind"] != kind:
            return None
        return {**row, "time": _time(row["time"]), "step": int(row["steps" if kind == "start" else "step"])}
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _time(value: Any) -> float:
    """Unix time, seconds; ValueError where no calendar has it."""
    seconds = float(value)
    if not 0 <= seconds < LAST_TIME:
        raise ValueError(f"time {value!r}")
    return seconds


def _moved(prefix: str, options: dict, pretrained: str) -> str:
    """Where a stage before stands now, if it stood beside this one and both went elsewhere together."""
    was = str(options.get("prefix") or "")
    if was and os.path.isabs(was) == os.path.isabs(pretrained):
        way = os.path.relpath(pretrained, os.path.dirname(was) or os.curdir)
        beside = os.path.normpath(os.path.join(os.path.dirname(prefix), way))
        if path(beside).exists() or Path(f"{beside}-log.jsonl").exists():
            return beside
    return pretrained


def _public(options: dict) -> dict:
    """Options whose paths say the last part only."""
    return {
        key: os.path.basename(os.path.normpath(value)) if key in PATHS and isinstance(value, str) and value else value
        for key, value in options.items()
    }
