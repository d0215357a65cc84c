"""Repair of damaged sets, with unchanged payload bytes.

**In place** (``index``), .idx and ``property`` are written beside the .rec, which is not changed. This is sufficient
for a missing or foreign .idx. **Into a folder** (``sound_copy``), a sound set is written. If only .idx or ``property``
are wrong, its .rec is a hard link to the old one; otherwise the usable images are copied with new header and identity
records, and the other images are listed.
"""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass, field
from typing import List, Optional

import numpy as np

from ..check.records import Records, locate
from ..check.rules import Findings
from ..errors import InsightError
from ..formats import shards
from ..sets.rewrite import refuse_outputs
from .index import renew
from .plan import Diagnosis, diagnose, float_labels, layout_name, select
from .sizes import Size, look_at
from .sound_copy import LABELS_NAME, REPORT_NAME, write_set


@dataclass
class RepairReport:
    """The set, the actions and the remaining faults, as lines. Faults in ``remains`` need a new .rec."""

    summary: str
    done: List[str] = field(default_factory=list)
    remains: List[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether no known fault remains."""
        return not self.remains

    def lines(self) -> List[str]:
        return [self.summary, *self.done, *self.remains]


def repair(
    path: str,
    output: Optional[str] = None,
    size: Optional[Size] = None,
    keep_labels: bool = False,
    group: bool = False,
    deep: bool = False,
    workers: int = 1,
    dry_run: bool = False,
    overwrite: bool = False,
) -> RepairReport:
    """Repair a record set.

    Parameters
    ----------
    path : str
        Folder, .rec file or prefix of the set, which may be damaged.
    output : str, optional
        Folder of a new set; default: write .idx and ``property`` beside the .rec.
    size : (int, int), optional
        (height, width) of the images to keep; default: the most frequent size.
    keep_labels, group : bool
        See :func:`insight.repair.plan.select`.
    deep : bool
        Decode every image, and skip those that are truncated or do not decode.
    workers : int
        Number of threads. The result does not depend on it.
    dry_run : bool
        Report the actions without writing anything.
    overwrite : bool
        Replace existing files: a wrong .idx or ``property`` in place, or the files of ``output``.

    Raises
    ------
    InsightError
        There is no set, no image is usable, a file already exists and ``overwrite`` is not set, or an option does not
        apply.
    """
    if output is None and (size or keep_labels or group or deep):
        option = "--image-size" if size else "--keep-labels" if keep_labels else "--group" if group else "--deep"
        raise InsightError(f"{option}: applies to a new .rec; give --output DIR too, or omit it")
    findings = Findings(path)
    rec_path = locate(path, findings)
    if output is not None:
        beside = [os.path.join(output, name) for name in (REPORT_NAME, LABELS_NAME)]
        refuse_outputs(shards.members(rec_path), output, beside, overwrite)
    with closing(Records(rec_path, findings)) as records:
        diagnosis = diagnose(records, findings, complete=overwrite and output is None)
        if output is None:
            return RepairReport(_describe(diagnosis), *renew(path, diagnosis, dry_run, overwrite))
        seen = look_at(diagnosis.layout, deep, workers)
        chosen = select(diagnosis.layout, seen, size, keep_labels, group)
        return RepairReport(_describe(diagnosis), write_set(output, diagnosis, chosen, dry_run, overwrite))


def _describe(diagnosis: Diagnosis) -> str:
    records, layout = diagnosis.layout.records, diagnosis.layout
    labels = len(np.unique(float_labels(layout)))
    damage = f", {len(records.damage)} damaged places" if records.damage else ""
    return (
        f"{shards.pattern(records.rec_path)}: {len(layout.rows)} images with {labels} labels, "
        f"{int(records.ranges().sum())} header and identity records{damage}; {layout_name(diagnosis)} layout"
    )
