"""Provenance of a report: the files of models and sets with their hashes, and the training stages of the model."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence

from ..engines import metadata, model_files
from ..engines.engine import is_checkpoint
from ..faces.parts import digest
from ..runs import lineage
from ..verify.verification import EvalSet

# Main options of a stage, shown in a table of their own; a second table shows all options.
LOSS = ("loss_type", "margin_m", "margin_s", "teacher", "teacher_weight")
CHIEF = ("network", "emb_size", *LOSS, "lr", "end_epoch", "per_batch_size", "pretrained")


class File(NamedTuple):
    """A file on which the metrics depend."""

    name: str
    what: str
    size: int  # bytes
    sha256: str


class Origin(NamedTuple):
    """Provenance of a model, and of what it is evaluated on and compared with."""

    files: List[File]  # of the model
    earlier: List[File]  # of the earlier model, empty without one
    sets: List[File]
    stages: List[str]  # names of the training stages, the latest last
    chief: Dict[str, List[str]]  # main facts and options: name to the value in each stage
    options: Dict[str, List[str]]  # all options: name to the value in each stage, "" if a stage has none


def find(spec: str, sets: Sequence[EvalSet], before: str = "") -> Origin:
    """Collect the provenance of a model, its verification sets, and an earlier model unless ``before`` is empty.

    Raises
    ------
    InsightError
        The lineage of the model is damaged.
    """
    stages = _stages(spec)
    return Origin(
        [_file(path, "model") for path in model_files(spec)],
        [_file(path, "earlier model") for path in model_files(before)] if before else [],
        [_file(Path(s.path), f"{len(s.issame)} pairs, {len(s.source)} images") for s in sets],
        [stage.name for stage in stages],
        _chief(stages),
        _options(stages),
    )


def _stages(spec: str) -> List[lineage.Stage]:
    """The training stages of a model of any kind. Paths in their options are reduced to the last part."""
    if is_checkpoint(spec):
        from .. import checkpoint  # imported here because other kinds of model do not need MXNet

        stages = lineage.stages(*checkpoint.parse_spec(spec))
    else:
        stages = lineage.from_metadata(metadata.read(spec)) or lineage.stages(os.path.splitext(spec)[0])
    return lineage.from_metadata({lineage.PROPERTY: lineage.to_json(stages)})


def _file(path: Path, what: str) -> File:
    return File(path.name, what, path.stat().st_size, digest([path]))


def _chief(stages: Sequence[lineage.Stage]) -> Dict[str, List[str]]:
    facts = {
        "started": [_time(stage.started) for stage in stages],
        "steps": [str(stage.steps) for stage in stages],
        "training set, fingerprint": [stage.set_fingerprint or "unknown" for stage in stages],
        "versions": [", ".join(map(" ".join, stage.versions.items())) or "unknown" for stage in stages],
    }
    options = _options(stages)
    return {**facts, **{name: options[name] for name in CHIEF if any(options.get(name, ()))}}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _options(stages: Sequence[lineage.Stage]) -> Dict[str, List[str]]:
    names = dict.fromkeys(name for stage in stages for name in stage.options)
    return {name: [_text(stage.options.get(name, "")) for stage in stages] for name in names}


def _text(value: object) -> str:
    return "" if value is None else str(value)
