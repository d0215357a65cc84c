"""Lists -> record sets: .rec, .idx and property, as InsightFace's face2rec2 lays them out.

Images have keys 1..N with the label vector ``[identity, aligned]``; key 0, behind them, says
where the identity records stand; then comes an empty record per run of equal labels, with its
range of keys. Source: InsightFace ``src/data/face2rec2.py`` @9fc3cc9c.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import List, Optional, Tuple

from ..errors import InsightError
from ..formats import property
from ..formats.commit import Staging, commit_together, refuse_existing
from ..formats.labelmap import write_label_map
from ..formats.lst import IM2REC, INSIGHTFACE
from ..formats.places import Places
from ..formats.recordwriter import BUFFER_BYTES, RecordStream
from ..progress import track
from .lists import entries_of_list, find_lists, survey
from .prepare import DEFAULT_SIZE, MISSING, RESIZED, Skip, Target, prepare_all

SKIP, FAIL = "skip", "fail"
INDEXED, PLAIN = "indexed", "plain"
RENUMBERED = ".renumbered.csv"
SET_NAME = "train"  # trainers look for train.rec
_SPARSE, _MANY = 2, 1000  # classes: twice as many as labels that have images, and more than so many
_FC7_BYTES = 512 * 3 * 4  # of a class in training: weights, gradient and momentum in float32


@dataclass
class PackReport:
    """What one list became."""

    rec_path: str
    images: int = 0
    identities: int = 0
    verbatim: int = 0
    changes: Counter = field(default_factory=Counter)
    skipped: List[Tuple[str, int, str]] = field(default_factory=list)  # path, label, reason
    skipped_path: Optional[str] = None
    labels: int = 0  # distinct ones
    property: Optional[property.Property] = None
    layout: str = INDEXED
    dialect: str = INSIGHTFACE
    map_path: Optional[str] = None  # CSV: new labels, and those of the list

    def lines(self) -> List[str]:
        """The report in sentences, for a person."""
        records = f"{self.images} images"
        if self.layout == INDEXED:
            total = self.images + self.identities + 1
            records += f" + {self.identities} identity records + 1 header = {total} records"
        lines = [f"{self.rec_path}: {records}; property {self.property.text()}"]
        converted = self.images - self.verbatim
        if converted:
            lines.append(f"  {self.verbatim} images verbatim, {converted} converted ({_counts(self.changes)})")
        if self.skipped:
            reasons = Counter(reason for _, _, reason in self.skipped)
            lines.append(f"  {len(self.skipped)} files skipped ({_counts(reasons)}); see {self.skipped_path}")
        if self.map_path:
            lines.append(f"  labels were renumbered; {self.map_path} maps each to the label in the list")
        return lines + [f"  note: {note}" for note in self._notes()]

    def _notes(self) -> List[str]:
        notes = []
        if self.dialect == IM2REC:
            notes.append("the list has im2rec's columns (index, label, path); its images were taken as aligned")
        resized = sum(n for change, n in self.changes.items() if change.startswith(RESIZED))
        if 2 * resized > self.images:
            notes.append("most images were resized; networks expect aligned faces: align them by a list with landmarks")
        if self.identities > self.labels:
            notes.append(
                f"{self.labels} labels stand in {self.identities} separate runs, and each run counts as an identity; "
                f"sort the list by label"
            )
        classes = self.property.num_classes
        if classes > max(_SPARSE * self.labels, _MANY):
            notes.append(
                f"{self.labels} of {classes} labels have images: fc7 would have {classes} classes, "
                f"{classes * _FC7_BYTES / 1e9:.1f} GB in training at --emb-size 512; --renumber-labels numbers "
                f"labels 0, 1, 2, .."
            )
        elif self.labels < classes:
            notes.append(f"{classes - self.labels} of {classes} labels have no image")
        if classes < 2:
            notes.append("one identity can be merged or embedded; training needs two or more")
        return notes


def _counts(counter: Counter, most: int = 6) -> str:
    shown = [f"{n} {what}" for what, n in counter.most_common(most)]
    rest = len(counter) - most
    return ", ".join(shown) + (f", and {rest} other kinds" if rest > 0 else "")


def pack(
    source: str,
    output: Optional[str] = None,
    size: Optional[Tuple[int, int]] = None,
    suffix: str = ".jpg",
    quality: Optional[int] = None,
    workers: int = 1,
    on_error: str = SKIP,
    layout: str = INDEXED,
    image_root: Optional[str] = None,
    renumber: bool = False,
    overwrite: bool = False,
) -> List[PackReport]:
    """Pack lists into record sets; all of them appear together when all are whole.

    Parameters
    ----------
    source : str
        A .lst, a folder of lists, or the beginning of their paths.
    output : str, optional
        A folder for one set, ``train.rec``. Without it, each set stands beside its list under
        the list's name.
    size : (int, int), optional
        (height, width) of the images; else what ``property`` in the output folder says, else
        112 x 112.
    suffix : str
        ``.jpg`` or ``.png``, for images that are converted.
    quality : int, optional
        JPEG 1..100 (95), or PNG compression 0..9 (3).
    workers : int
        Threads for conversion.
    on_error : str
        ``skip`` lists unusable files in ``<set>.skipped.csv``; ``fail`` stops at the first.
    layout : str
        ``indexed``, as face2rec2 writes it; or ``plain``, as im2rec does: scalar labels, keys
        0..N-1, nothing but images, which is what ``mx.io.ImageRecordIter`` can read.
    image_root : str, optional
        Where the lists' paths begin. Files that are not there are looked for from the working directory, then beside
        the list.
    renumber : bool
        Renumber the labels of one list, 0, 1, 2, .. in order of first appearance. ``<set>.renumbered.csv``, a label
        map, maps them to the labels of the list.
    overwrite : bool
        Replace a set of the same name.

    Raises
    ------
    InsightError
        The input is bad, a set stands there already, or no image could be used.
    """
    lists = find_lists(source)
    if output is not None and len(lists) > 1:
        raise InsightError(f"{source}: means {len(lists)} lists, and --output takes one set; give one .lst")
    if renumber and len(lists) > 1:
        raise InsightError(f"--renumber-labels: {source} means {len(lists)} lists, and labels are one list's; give one")
    folder = output if output is not None else os.path.dirname(lists[0]) or "."
    stems = [SET_NAME] if output is not None else [_stem(path) for path in lists]
    files = [stem + ending for stem in stems for ending in (".rec", ".idx")]
    if not overwrite:
        refuse_existing(folder, [*files, *([stems[0] + RENUMBERED] if renumber else [])])
    places = [Places(os.path.dirname(path), image_root) for path in lists]
    surveys = [survey(path, renumber) for path in lists]
    said = _standing_property(folder)
    target = Target(size or (said[1:] if said else DEFAULT_SIZE), suffix, quality)
    classes = max(s.num_classes for s in surveys)
    wanted = _settle_property(folder, property.Property(classes, *target.size), said, files, overwrite)
    with commit_together(folder, [*files, property.NAME], overwrite=True) as staging:
        reports = []
        for path, stem, counted, where in zip(lists, stems, surveys, places):
            report = PackReport(
                os.path.join(folder, stem + ".rec"), property=wanted, layout=layout, dialect=counted.dialect
            )
            outcomes = prepare_all(entries_of_list(path, counted), target, where, workers)
            outcomes = track(outcomes, "packing", counted.lines, "images")
            _pack_one(path, stem, staging, report, outcomes, on_error)
            if counted.numbers is not None:
                report.map_path = str(staging.folder / (stem + RENUMBERED))
                write_label_map(staging.path(stem + RENUMBERED), map(str, counted.numbers))
            elif overwrite:
                staging.obsolete.append(stem + RENUMBERED)
            reports.append(report)
        staging.path(property.NAME).write_text(wanted.text(), encoding="ascii")
    return reports


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _standing_property(folder: str) -> Optional[property.Property]:
    if not os.path.exists(os.path.join(folder, property.NAME)):
        return None
    return property.read_property(folder)


def _settle_property(folder, computed, said, files, overwrite) -> property.Property:
    """The property to write. One that stands there is the user's, unless its set is being replaced."""
    if said is None or said == computed:
        return computed
    standing = {n for n in os.listdir(folder) if n.endswith(".rec") and n[0] != "."}
    if overwrite and standing and standing <= set(files):
        return computed
    if said[1:] == computed[1:] and said.num_classes >= computed.num_classes:
        return said
    raise InsightError(
        f"{os.path.join(folder, property.NAME)}: says {said.text()}, these lists need {computed.text()}; "
        f"correct it, remove it, or give another --output"
    )


def _pack_one(path, stem, staging: Staging, report: PackReport, outcomes, on_error) -> None:
    with ExitStack() as files:
        rec = files.enter_context(open(staging.path(stem + ".rec"), "wb", buffering=BUFFER_BYTES))
        idx = files.enter_context(open(staging.path(stem + ".idx"), "wb", buffering=BUFFER_BYTES))
        stream = RecordStream(rec, idx)
        ranges = _write_images(outcomes, stream, report, path, on_error)
        report.identities = len(ranges)
        if report.layout == INDEXED:
            _write_identities(stream, ranges, report.images)
    if report.skipped:
        name = stem + ".skipped.csv"
        report.skipped_path = str(staging.folder / name)
        write_skipped(staging.path(name), report.skipped)
    else:
        staging.obsolete.append(stem + ".skipped.csv")


def _write_images(outcomes, stream, report, path, on_error) -> List[Tuple[int, int]]:
    """Write the images; returns the key ranges (keys from 1) of runs of equal labels."""
    ranges, key, begin, last = [], 0, 1, None
    labels, plain = set(), report.layout == PLAIN
    for entry, outcome in outcomes:
        if isinstance(outcome, Skip):
            if on_error == FAIL:
                raise InsightError(f"{entry.path} (from {path}): {outcome}; repair or remove it, or --on-error skip")
            report.skipped.append((entry.path, entry.label, str(outcome)))
            continue
        key += 1
        label = entry.label
        if plain:
            stream.write(key - 1, outcome.payload, label, key - 1)
        else:
            stream.write(key, outcome.payload, (label, entry.aligned), key)
        if outcome.changes:
            report.changes.update(outcome.changes)
        else:
            report.verbatim += 1
        if label != last:
            if last is not None:
                ranges.append((begin, key))
            labels.add(label)
            begin, last = key, label
    if not key:
        name, _, reason = report.skipped[0]
        remedy = "; give --image-root where paths begin elsewhere" if reason.startswith(MISSING) else ""
        raise InsightError(
            f"{path}: none of its {len(report.skipped)} images can be used; the first, {name}: {reason}{remedy}"
        )
    ranges.append((begin, key + 1))
    report.images, report.labels = key, len(labels)
    return ranges


def _write_identities(stream: RecordStream, ranges: List[Tuple[int, int]], images: int) -> None:
    first = images + 1
    stream.write(0, b"", (first, first + len(ranges)), 0)
    for key, edges in enumerate(ranges, first):
        stream.write(key, b"", edges, key)


def write_skipped(path, skipped: List[Tuple[str, int, str]]) -> None:
    """A CSV of the files that were not used, with the reason of each."""
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as out:
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(["path", "label", "reason"])
        rows.writerows(skipped)
