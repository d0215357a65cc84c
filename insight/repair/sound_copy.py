"""Writing the usable part of a damaged set as a sound set into another folder."""

from __future__ import annotations

import csv
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import List, Tuple

import numpy as np

from ..check.layout import INDEXED
from ..formats import identities, shards
from ..formats.framing import EXACT_FLOAT32, id2_of
from ..formats.idx import idx_path_of
from ..formats.property import NAME, Property
from ..formats.recordmap import Record
from ..formats.recordwriter import ShardStream
from ..progress import track
from ..sets.pack import SET_NAME
from ..sets.rewrite import count_records, new_files, rec_of
from .index import write_idx
from .plan import FITS, PARTIAL, Diagnosis, Selection, float_labels, layout_name

REPORT_NAME, LABELS_NAME = "repair.csv", "labels.csv"
COLUMNS = ("offset", "key", "label", "reason")
_COPIED = 1 << 24  # bytes that are copied at a time

Row = Tuple[int, object, str, str]


def write_set(output: str, diagnosis: Diagnosis, chosen: Selection, dry_run: bool, overwrite: bool) -> List[str]:
    """Write ``train.rec``, ``train.idx`` and ``property``, and CSV files that list the changes.

    If nothing in the .rec has to change, the new one is a hard link to it, or a copy if the file system does not
    support links. The number of shards is kept.

    Returns
    -------
    list of str
        The actions, as lines.

    Raises
    ------
    InsightError
        A file of the output already exists and ``overwrite`` is not set.
    """
    same = not chosen.left_out and _nothing_changes(diagnosis, chosen)
    rows = [] if same else _left_out(diagnosis, chosen)
    lines = _summary(output, diagnosis, chosen, rows)
    if dry_run:
        how = "the .rec would be linked, not copied" if same else "the images would be copied"
        return [*lines, f"dry run, no set is written; {how}"]
    extra = {REPORT_NAME: bool(rows), LABELS_NAME: chosen.old is not None}
    count = len(diagnosis.layout.records.rec_paths)
    beside = [name for name, wanted in extra.items() if wanted]
    with new_files(output, count, beside, overwrite) as (paths, staging):
        staging.obsolete += [name for name, wanted in extra.items() if not wanted and overwrite]
        if rows:
            place = diagnosis.layout.records.place
            _write_csv(staging.path(REPORT_NAME), COLUMNS, ((place(row[0]), *row[1:]) for row in rows))
        if chosen.old is not None:
            old = [f"{value:.0f}" for value in chosen.old.tolist()]
            _write_csv(staging.path(LABELS_NAME), ("old", "new"), zip(old, range(len(old))))
        if same:
            lines += _take_over(output, paths, diagnosis)
        else:
            _write_records(paths, diagnosis, chosen)
        staging.path(NAME).write_text(Property(chosen.num_classes, *chosen.size).text(), encoding="ascii")
    return [*lines, _closing_line(output, diagnosis, chosen)]


def _nothing_changes(diagnosis: Diagnosis, chosen: Selection) -> bool:
    in_order = len(chosen.at) == len(diagnosis.layout.rows) and (np.diff(chosen.at) > 0).all()
    return (
        bool(in_order)
        and not diagnosis.faults
        and chosen.old is None
        and layout_name(diagnosis) == diagnosis.layout.name
    )


def _left_out(diagnosis: Diagnosis, chosen: Selection) -> List[Row]:
    """Return the rows of ``repair.csv``: the records that the new set does not have, in the order of the .rec."""
    layout, records = diagnosis.layout, diagnosis.layout.records
    labels = float_labels(layout)
    rows: List[Row] = [
        (damage.offset, "", "", f"damaged-record: {damage.end - damage.offset} bytes, {damage.reason}")
        for damage in records.damage
    ]
    for i, reason in chosen.left_out.items():
        rows.append((int(records.offsets[layout.rows[i]]), int(layout.keys[i]), f"{labels[i]:.10g}", reason))
    for row in np.flatnonzero((records.keys < 0) & ~records.ranges()) if diagnosis.index == PARTIAL else ():
        rows.append((int(records.offsets[row]), "", f"{records.first[row]:.10g}", "unnamed-record: it has no key"))
    return sorted(rows, key=lambda row: row[0])


def _summary(output: str, diagnosis: Diagnosis, chosen: Selection, rows: List[Row]) -> List[str]:
    lines = []
    if rows:
        counts = Counter(reason.partition(":")[0] for *_, reason in rows)
        reasons = ", ".join(f"{n} {code}" for code, n in counts.most_common())
        lines.append(f"left out: {reasons}; listed in {os.path.join(output, REPORT_NAME)}")
    if diagnosis.index == PARTIAL:
        lines.append(f"note: the .idx: {diagnosis.why}; the others are skipped. Without an .idx all would be used")
    if chosen.old is not None:
        lines.append(
            f"labels: {len(chosen.old)} numbers from {chosen.old[0]:.0f} to {chosen.old[-1]:.0f} become 0 to "
            f"{len(chosen.old) - 1}; {os.path.join(output, LABELS_NAME)} has old and new"
        )
        if chosen.old[-1] > EXACT_FLOAT32:
            lines.append(
                f"note: labels above {EXACT_FLOAT32} are rounded in records of other tools; people whose labels were "
                f"rounded to the same number are one identity now"
            )
    runs, labels = len(identities.runs(chosen.labels)), len(np.unique(chosen.labels))
    if runs > labels:
        lines.append(f"note: {runs} runs of {labels} labels; --group puts the images of each label together")
    return lines


def _take_over(output: str, paths: List[Tuple[Path, Path]], diagnosis: Diagnosis) -> List[str]:
    """Link or copy each .rec; copy the existing .idx if it fits, otherwise write a new one."""
    lines = []
    sources = diagnosis.layout.records.rec_paths
    for shard, (source, name, (rec, idx)) in enumerate(zip(sources, shards.names(SET_NAME, len(sources)), paths)):
        real = os.path.realpath(source)
        try:
            os.link(real, rec)
            how = f"a hard link to {real}, not a copy"
        except OSError:  # another file system, or one without hard links
            _copy(real, rec)
            how = f"a copy of {real}"
        if diagnosis.index in (FITS, PARTIAL):
            shutil.copyfile(idx_path_of(source), idx)
        else:
            write_idx(idx, diagnosis, shard)
        lines.append(f"{os.path.join(output, name)}: {how}")
    return lines


def _copy(source: str, target) -> None:
    steps = range(0, os.path.getsize(source), _COPIED)
    with open(source, "rb") as read, open(target, "wb") as written:
        for _ in track(steps, "copying", unit=f"parts of {_COPIED >> 20} MiB"):
            written.write(read.read(_COPIED))


def _write_records(paths: List[Tuple[Path, Path]], diagnosis: Diagnosis, chosen: Selection) -> None:
    layout, indexed = diagnosis.layout, layout_name(diagnosis) == INDEXED
    with ShardStream(paths, len(chosen.at)) as stream:
        keys = np.arange(1, len(chosen.at) + 1) if indexed else _plain_keys(layout.keys[chosen.at])
        images = zip(keys.tolist(), layout.rows[chosen.at].tolist(), chosen.labels.tolist())
        for number, (key, row, label) in enumerate(track(images, "writing", len(chosen.at), "images")):
            record = layout.records.read(row)
            stream.room(number)
            stream.write(key, record.payload, _relabelled(record, label), key, id2_of(label) or record.id2)
        if indexed:
            ranges = (identities.runs(chosen.labels) + 1).tolist()
            stream.write_identities(ranges, len(chosen.at), header_first=False)


def _plain_keys(keys: np.ndarray) -> np.ndarray:
    """Return the keys of a set without identity records: the existing ones if they ascend, otherwise 0, 1, 2, .."""
    return keys if (np.diff(keys) > 0).all() else np.arange(len(keys))


def _relabelled(record: Record, label: int):
    """Return a new label in the form of the old one: a number, or a vector with the same further elements."""
    return [label, *record.label.tolist()[1:]] if record.flag else label


def _write_csv(path, columns, rows) -> None:
    with open(path, "w", encoding="utf-8", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)


def _closing_line(output: str, diagnosis: Diagnosis, chosen: Selection) -> str:
    images, runs = len(chosen.at), len(identities.runs(chosen.labels))
    counted = count_records(images, runs) if layout_name(diagnosis) == INDEXED else f"{images} images"
    properties = Property(chosen.num_classes, *chosen.size).text()
    return f"{rec_of(output, len(diagnosis.layout.records.rec_paths))}: {counted}; property {properties}"
