"""Where a model and the sets come from: files with their hashes, and the training stages behind the model."""

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

# What tells stages apart at a glance; every other option follows in a table of its own.
CHIEF = ("network", "emb_size", "loss_type", "margin_m", "margin_s", "lr", "end_epoch", "per_batch_size", "pretrained")


class File(NamedTuple):
    """A file that the figures depend on."""

    name: str
    what: str
    size: int  # bytes
    sha256: str


class Origin(NamedTuple):
    """Files of the model and of the sets; the training stages, the latest last, and what is known of each."""

    files: List[File]
    sets: List[File]
    stages: List[str]
    chief: Dict[str, List[str]]  # name of a fact to what it is in each stage
    options: Dict[str, List[str]]  # every option likewise, "" where a stage has none


def find(spec: str, sets: Sequence[EvalSet]) -> Origin:
    """What is known of a model and the sets that it is evaluated on.

    Raises
    ------
    InsightError
        The model's lineage is there and damaged.
    """
    held = _stages(spec)
    return Origin(
        [_file(path, "model") for path in model_files(spec)],
        [_file(Path(s.path), f"{len(s.issame)} pairs, {len(s.source)} images") for s in sets],
        [stage.name for stage in held],
        _chief(held),
        _options(held),
    )


def _stages(spec: str) -> List[lineage.Stage]:
    """The stages of a model of any kind, with the last part only of the paths that their options hold."""
    if is_checkpoint(spec):
        from .. import checkpoint  # MXNet is not needed for other kinds

        held = lineage.stages(*checkpoint.parse_spec(spec))
    else:
        held = lineage.from_metadata(metadata.read(spec)) or lineage.stages(os.path.splitext(spec)[0])
    return lineage.from_metadata({lineage.PROPERTY: lineage.to_json(held)})


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
    return {name: [_said(stage.options.get(name, "")) for stage in stages] for name in names}


def _said(value: object) -> str:
    return "" if value is None else str(value)
