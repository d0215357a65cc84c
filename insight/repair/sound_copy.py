"""A sound set in a folder of its own, from what is usable of a damaged one."""

from __future__ import annotations

import csv
import os
import shutil
from collections import Counter
from contextlib import ExitStack
from typing import List, Tuple

import numpy as np

from ..check.layout import INDEXED
from ..files.commit import Staging, commit_together
from ..formats import identities
from ..formats.framing import EXACT_FLOAT32
from ..formats.idx import idx_path_of
from ..formats.property import NAME, Property
from ..formats.recordio import Record
from ..formats.recordwriter import BUFFER_BYTES, RecordStream
from ..progress import track
from ..sets.rewrite import FILES, count_records
from .index import write_idx
from .plan import FITS, PARTIAL, Diagnosis, Selection, float_labels, layout_name

REPORT_NAME, LABELS_NAME = "repair.csv", "labels.csv"
COLUMNS = ("offset", "key", "label", "reason")
_COPIED = 1 << 24  # bytes at a time

Row = Tuple[int, object, str, str]


def write_set(output: str, found: Diagnosis, chosen: Selection, dry_run: bool, overwrite: bool) -> List[str]:
    """Write ``train.rec``, ``train.idx`` and ``property``, and what was changed as CSV files.

    The .rec is linked where nothing in it has to change, and copied where the file system has no links.

    Returns
    -------
    list of str
        What was done, in sentences.

    Raises
    ------
    InsightError
        A file of the output exists and may not be replaced.
    """
    same = not chosen.left_out and _nothing_changes(found, chosen)
    rows = [] if same else _left_out(found, chosen)
    lines = _summary(output, found, chosen, rows)
    if dry_run:
        how = "the .rec would be linked, not copied" if same else "the images would be copied"
        return [*lines, f"dry run, no set is written; {how}"]
    extra = {REPORT_NAME: bool(rows), LABELS_NAME: chosen.old is not None}
    with commit_together(output, [*(n for n, wanted in extra.items() if wanted), *FILES], overwrite) as staging:
        staging.obsolete += [name for name, wanted in extra.items() if not wanted and overwrite]
        if rows:
            _write_csv(staging.path(REPORT_NAME), COLUMNS, rows)
        if chosen.old is not None:
            old = [f"{value:.0f}" for value in chosen.old.tolist()]
            _write_csv(staging.path(LABELS_NAME), ("old", "new"), zip(old, range(len(old))))
        if same:
            lines.append(_take_over(staging, found))
        else:
            _write_records(staging, found, chosen)
        staging.path(NAME).write_text(Property(chosen.num_classes, *chosen.size).text(), encoding="ascii")
    return [*lines, _closing_line(output, found, chosen)]


def _nothing_changes(found: Diagnosis, chosen: Selection) -> bool:
    in_order = len(chosen.at) == len(found.layout.rows) and (np.diff(chosen.at) > 0).all()
    return bool(in_order) and not found.faults and chosen.old is None and layout_name(found) == found.layout.name


def _left_out(found: Diagnosis, chosen: Selection) -> List[Row]:
    """Rows for the list of what the new set does not have, in the order of the file."""
    layout, records = found.layout, found.layout.records
    labels = float_labels(layout)
    rows: List[Row] = [
        (damage.offset, "", "", f"damaged-record: {damage.end - damage.offset} bytes, {damage.reason}")
        for damage in records.damage
    ]
    for i, reason in chosen.left_out.items():
        rows.append((int(records.offsets[layout.rows[i]]), int(layout.keys[i]), f"{labels[i]:.10g}", reason))
    for row in np.flatnonzero((records.keys < 0) & ~records.ranges()) if found.index == PARTIAL else ():
        rows.append((int(records.offsets[row]), "", f"{records.first[row]:.10g}", "unnamed-record: it has no key"))
    return sorted(rows, key=lambda row: row[0])


def _summary(output: str, found: Diagnosis, chosen: Selection, rows: List[Row]) -> List[str]:
    lines = []
    if rows:
        counts = Counter(reason.partition(":")[0] for *_, reason in rows)
        said = ", ".join(f"{n} {code}" for code, n in counts.most_common())
        lines.append(f"left out: {said}; listed in {os.path.join(output, REPORT_NAME)}")
    if found.index == PARTIAL:
        lines.append(f"note: of the .idx: {found.why}; the others stay out. Without an .idx all would be taken")
    if chosen.old is not None:
        lines.append(
            f"labels: {len(chosen.old)} numbers from {chosen.old[0]:.0f} to {chosen.old[-1]:.0f} become 0 to "
            f"{len(chosen.old) - 1}; {os.path.join(output, LABELS_NAME)} has old and new"
        )
        if chosen.old[-1] > EXACT_FLOAT32:
            lines.append(
                f"note: labels above {EXACT_FLOAT32} are rounded in records; where two of these people shared a "
                f"number, they are one identity now"
            )
    runs, labels = len(identities.runs(chosen.labels)), len(np.unique(chosen.labels))
    if runs > labels:
        lines.append(f"note: {runs} runs of {labels} labels; --group puts the images of each label together")
    return lines


def _take_over(staging: Staging, found: Diagnosis) -> str:
    """Link the .rec; write the .idx, or copy the one that fits."""
    source = os.path.realpath(found.layout.records.rec_path)
    rec, idx = staging.path(FILES[0]), staging.path(FILES[1])
    try:
        os.link(source, rec)
        how = f"a hard link to {source}, not a copy"
    except OSError:  # another disk, or one without links
        _copy(source, rec)
        how = f"a copy of {source}"
    if found.index in (FITS, PARTIAL):
        shutil.copyfile(idx_path_of(found.layout.records.rec_path), idx)
    else:
        write_idx(idx, found)
    return f"{staging.folder / FILES[0]}: {how}"


def _copy(source: str, target) -> None:
    steps = range(0, os.path.getsize(source), _COPIED)
    with open(source, "rb") as read, open(target, "wb") as written:
        for _ in track(steps, "copying", unit=f"parts of {_COPIED >> 20} MiB"):
            written.write(read.read(_COPIED))


def _write_records(staging: Staging, found: Diagnosis, chosen: Selection) -> None:
    layout, indexed = found.layout, layout_name(found) == INDEXED
    with ExitStack() as files:
        rec, idx = (files.enter_context(open(staging.path(n), "wb", buffering=BUFFER_BYTES)) for n in FILES[:2])
        stream = RecordStream(rec, idx)
        keys = np.arange(1, len(chosen.at) + 1) if indexed else _plain_keys(layout.keys[chosen.at])
        images = zip(keys.tolist(), layout.rows[chosen.at].tolist(), chosen.labels.tolist())
        for key, row, label in track(images, "writing", len(chosen.at), "images"):
            record = layout.records.read(row)
            stream.write(key, record.payload, _relabelled(record, label), key, record.id2)
        if indexed:
            ranges = (identities.runs(chosen.labels) + 1).tolist()
            stream.write_identities(ranges, len(chosen.at), header_first=False)


def _plain_keys(keys: np.ndarray) -> np.ndarray:
    """Keys of a set without identity records: those it has, which say the order; 0, 1, 2, .. for another order."""
    return keys if (np.diff(keys) > 0).all() else np.arange(len(keys))


def _relabelled(record: Record, label: int):
    """The label as it was written, a number or a vector, with another identity in it."""
    return [label, *record.label.tolist()[1:]] if record.flag else label


def _write_csv(path, columns, rows) -> None:
    with open(path, "w", encoding="utf-8", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)


def _closing_line(output: str, found: Diagnosis, chosen: Selection) -> str:
    images, runs = len(chosen.at), len(identities.runs(chosen.labels))
    counted = count_records(images, runs) if layout_name(found) == INDEXED else f"{images} images"
    said = Property(chosen.num_classes, *chosen.size).text()
    return f"{os.path.join(output, FILES[0])}: {counted}; property {said}"
