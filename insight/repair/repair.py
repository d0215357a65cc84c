"""A damaged set -> one that can be trained on, at the least cost: payload bytes are never touched.

Two ways. **In place** (``repair_index``), .idx and property are written beside a .rec which stays
as it is: that is all that a lost or foreign .idx needs, however large the .rec. **Into a folder**
(``repair_copy``), a sound set is written: where only .idx or property were wrong, the .rec is
linked there, not copied; else its usable images are copied under new header and identity records,
and the others are listed.
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
from ..sets.rewrite import refuse_outputs
from .index import renew
from .plan import Diagnosis, diagnose, float_labels, layout_name, select
from .sizes import Size, look_at
from .sound_copy import LABELS_NAME, REPORT_NAME, write_set


@dataclass
class RepairReport:
    """What was found and done, in sentences. ``remains`` holds the faults that only a new .rec mends."""

    found: str
    done: List[str] = field(default_factory=list)
    remains: List[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """The set is sound now, as far as it was looked at."""
        return not self.remains

    def lines(self) -> List[str]:
        return [self.found, *self.done, *self.remains]


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
    """Mend a record set.

    Parameters
    ----------
    path : str
        Folder, .rec file or prefix of the set. It may be damaged.
    output : str, optional
        Folder of a new set. Without it, .idx and property are written beside the .rec.
    size : (int, int), optional
        (height, width) of the images to keep; else the commonest.
    keep_labels, group : bool
        See :func:`insight.repair.plan.select`.
    deep : bool
        Decode every image, and leave out those that are cut or do not decode.
    workers : int
        Threads. The result does not depend on it.
    dry_run : bool
        Say what would be done; write nothing.
    overwrite : bool
        Replace files that exist: in place a wrong .idx or property, else those of the output.

    Raises
    ------
    InsightError
        There is no set, none of it can be used, a file exists that may not be replaced, or an
        option does not fit.
    """
    if output is None and (size or keep_labels or group or deep):
        option = "--image-size" if size else "--keep-labels" if keep_labels else "--group" if group else "--deep"
        raise InsightError(f"{option}: is about a new .rec; give --output DIR too, or leave it out")
    findings = Findings(path)
    rec_path = locate(path, findings)
    if output is not None:
        beside = [os.path.join(output, name) for name in (REPORT_NAME, LABELS_NAME)]
        refuse_outputs([rec_path], output, beside, overwrite)
    with closing(Records(rec_path, findings)) as records:
        found = diagnose(records, findings, complete=overwrite and output is None)
        if output is None:
            return RepairReport(_describe(found), *renew(path, found, dry_run, overwrite))
        seen = look_at(found.layout, deep, workers)
        chosen = select(found.layout, seen, size, keep_labels, group)
        return RepairReport(_describe(found), write_set(output, found, chosen, dry_run, overwrite))


def _describe(found: Diagnosis) -> str:
    records, layout = found.layout.records, found.layout
    labels = len(np.unique(float_labels(layout)))
    damage = f", {len(records.damage)} damaged places" if records.damage else ""
    return (
        f"{records.rec_path}: {len(layout.rows)} images with {labels} labels, {int(records.ranges().sum())} header and "
        f"identity records{damage}; {layout_name(found)} layout"
    )
