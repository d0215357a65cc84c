"""Packing of lists into record sets (.rec, .idx and property) in the layout of InsightFace's face2rec2.

Images have the keys 1..N and the label vector ``[identity, aligned]``. They are followed by the header record, key 0,
which holds the range of keys of the identity records, and by one empty identity record per run of equal labels,
which holds the run's range of keys. Source: InsightFace ``src/data/face2rec2.py`` @9fc3cc9c.
"""

from __future__ import annotations

import csv
import os
from typing import List, Optional, Tuple

from ..errors import InsightError
from ..executor import Workforce
from ..files.commit import Staging, commit_together, refuse_existing
from ..files.places import Places
from ..files.reading import MISSING
from ..formats import property, shards
from ..formats.labelmap import write_label_map
from ..formats.recordwriter import ShardStream
from ..progress import track
from .chunk import Chunk
from .intake import open_intake
from .lists import ListSurvey, entries_of_list, find_lists, survey_list
from .packreport import PackReport
from .prepare import DECODE, DEFAULT_SIZE, SKIP, ImageTarget, Skip, stops, under_policy
from .setwriter import GAPS, INDEXED, SetWriter

RENUMBERED = ".renumbered.csv"
SET_NAME = "train"  # InsightFace's training scripts look for train.rec


def pack(
    source: str,
    output: Optional[str] = None,
    size: Optional[Tuple[int, int]] = None,
    suffix: str = ".jpg",
    quality: Optional[int] = None,
    workers: Workforce = 1,
    on_error: str = SKIP,
    layout: str = INDEXED,
    image_root: Optional[str] = None,
    renumber: bool = False,
    overwrite: bool = False,
    check: str = DECODE,
    damaged: str = SKIP,
    shard_count: int = 1,
) -> List[PackReport]:
    """Pack lists into record sets, which are renamed to their final names together when all are complete.

    Parameters
    ----------
    source : str
        A .lst, a folder of lists, or a common prefix of their paths.
    output : str, optional
        Folder of one set, ``train.rec``. By default, each set is written beside its list, under the list's name.
    size : (int, int), optional
        (height, width) of the images in pixels; default: the size in ``property`` of the output folder, or 112 x 112
        if there is none.
    suffix : str
        Encoding of images that are converted: ``.jpg`` or ``.png``.
    quality : int, optional
        JPEG quality, 1..100 (default 95), or PNG compression level, 0..9 (default 3).
    workers : int or Cluster
        Number of processes that check and convert images, or a cluster. The set does not depend on it.
    on_error : str
        ``skip`` lists unusable files in ``<set>.skipped.csv``; ``fail`` stops at the first.
    layout : str
        ``indexed``, the layout of face2rec2; or ``plain``, the layout of im2rec, which ``mx.io.ImageRecordIter`` can
        read: scalar labels, keys 0..N-1, image records only.
    image_root : str, optional
        Folder that the lists' paths are relative to. Files that are missing there are searched in the working
        directory, then beside the list.
    renumber : bool
        Renumber the labels of a single list 0, 1, 2, .. in order of first appearance. The label map
        ``<set>.renumbered.csv`` gives the original label of each new one.
    overwrite : bool
        Replace a set of the same name.
    check : str
        ``decode`` decodes every image to check it; ``headers`` checks only the headers of images that are copied,
        and is faster if fewer than three cores are free.
    damaged : str
        Treatment of images that decode with a warning: ``skip`` lists them in ``<set>.skipped.csv``, ``keep`` packs
        them and lists them in ``<set>.damaged.csv``, ``fail`` stops at the first.
    shard_count : int
        Number of .rec files per set, each with an equal part of the list; see :mod:`insight.formats.shards`.

    Raises
    ------
    InsightError
        The input is invalid, a set already exists, or no image is usable.
    """
    lists = find_lists(source)
    if output is not None and len(lists) > 1:
        raise InsightError(f"{source}: means {len(lists)} lists, and --output takes one set; give one .lst")
    if renumber and len(lists) > 1:
        raise InsightError(f"--renumber-labels: {source} means {len(lists)} lists, and labels are one list's; give one")
    folder = output if output is not None else os.path.dirname(lists[0]) or "."
    stems = [SET_NAME] if output is not None else [_stem(path) for path in lists]
    files = [name for stem in stems for pair in shards.pairs(stem, shard_count) for name in pair]
    replaced = [name for stem in stems for name in shards.existing(folder, stem)]
    if not overwrite:
        refuse_existing(folder, [*replaced, *files, *([stems[0] + RENUMBERED] if renumber else [])])
    places = [Places(os.path.dirname(path), image_root) for path in lists]
    existing = _existing_property(folder)
    target = ImageTarget(size or (existing[1:] if existing else DEFAULT_SIZE), suffix, quality)
    with open_intake(target, workers, check, GAPS[layout]) as intake:  # its workers start while lists are checked
        surveys = [survey_list(path, renumber) for path in lists]
        for path, surveyed in zip(lists, surveys):
            shards.check_count(shard_count, surveyed.lines, path)
        classes = max(s.num_classes for s in surveys)
        computed = property.Property(classes, *target.size)
        written = _settle_property(folder, computed, existing, [*files, *replaced], overwrite)
        with commit_together(folder, [*files, property.NAME], overwrite=True) as staging:
            staging.obsolete += sorted(set(replaced) - set(files))
            for stem in stems:
                shards.sweep(folder, stem)
            reports = []
            for path, stem, surveyed, where in zip(lists, stems, surveys, places):
                rec_path = os.path.join(folder, shards.names(stem, shard_count)[0])
                report = PackReport(shards.pattern(rec_path), written, layout, surveyed.dialect)
                chunks = track(
                    intake.chunks(entries_of_list(path, surveyed), where), "packing", surveyed.lines, "images", size=len
                )
                stream = ShardStream(staging.pairs(shards.pairs(stem, shard_count)), surveyed.lines)
                _pack_one(path, stem, staging, stream, report, chunks, on_error, damaged)
                _map_labels(stem, staging, report, surveyed, overwrite)
                reports.append(report)
            staging.path(property.NAME).write_text(written.text(), encoding="ascii")
    return reports


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _existing_property(folder: str) -> Optional[property.Property]:
    if not os.path.exists(os.path.join(folder, property.NAME)):
        return None
    return property.read_property(folder)


def _settle_property(folder, computed, existing, files, overwrite) -> property.Property:
    """Return the property to write. An existing one is kept if it fits, unless its set is being replaced."""
    if existing is None or existing == computed:
        return computed
    records = {n for n in os.listdir(folder) if n.endswith(".rec") and n[0] != "."}
    if overwrite and records and records <= set(files):
        return computed
    if existing[1:] == computed[1:] and existing.num_classes >= computed.num_classes:
        return existing
    raise InsightError(
        f"{os.path.join(folder, property.NAME)}: says {existing.text()}, these lists need {computed.text()}; "
        f"correct it, remove it, or give another --output"
    )


def _map_labels(stem: str, staging: Staging, report: PackReport, surveyed: ListSurvey, overwrite: bool) -> None:
    if surveyed.numbers is not None:
        report.map_path = str(staging.folder / (stem + RENUMBERED))
        write_label_map(staging.path(stem + RENUMBERED), map(str, surveyed.numbers))
    elif overwrite:
        staging.obsolete.append(stem + RENUMBERED)


def _pack_one(path, stem, staging: Staging, stream, report: PackReport, chunks, on_error, damaged) -> None:
    with stream:
        writer = SetWriter(stream, report.layout)
        for chunk in chunks:
            if chunk.copied:
                writer.write_copied(chunk)
                report.verbatim += len(chunk)
            else:
                _write_mixed(chunk, writer, report, path, on_error, damaged)
        report.images, report.labels = writer.images, len(writer.labels)
        if not report.images:
            name, _, reason = report.skipped[0]
            remedy = "; give --image-root if paths begin elsewhere" if reason.startswith(MISSING) else ""
            raise InsightError(
                f"{path}: none of its {len(report.skipped)} images can be used; the first, {name}: {reason}{remedy}"
            )
        writer.write_identities()
        report.identities = len(writer.ranges)
    report.skipped_path = _list(staging, stem + ".skipped.csv", report.skipped)
    report.damaged_path = _list(staging, stem + ".damaged.csv", report.damaged)


def _write_mixed(chunk: Chunk, writer: SetWriter, report: PackReport, path, on_error, damaged) -> None:
    """Write the images of a chunk one by one."""
    for i, entry in enumerate(chunk.entries):
        outcome = under_policy(chunk.outcome(i), damaged)
        if isinstance(outcome, Skip):
            remedy = stops(outcome, on_error, damaged)
            if remedy:
                raise InsightError(f"{entry.path} (from {path}): {outcome}; repair or remove it, or {remedy}")
            report.skipped.append((entry.path, entry.label, str(outcome)))
            continue
        writer.write(entry, outcome)
        if outcome.damage:
            report.damaged.append((entry.path, entry.label, outcome.damage))
        if outcome.changes:
            report.changes.update(outcome.changes)
        else:
            report.verbatim += 1


def _list(staging: Staging, name: str, rows: List[Tuple[str, int, str]]) -> Optional[str]:
    """Write a CSV of files beside the set, or mark an old one for removal; return its final path."""
    if not rows:
        staging.obsolete.append(name)
        return None
    write_skipped(staging.path(name), rows)
    return str(staging.folder / name)


def write_skipped(path, skipped: List[Tuple[str, int, str]]) -> None:
    """Write a CSV (path, label, reason) of skipped or damaged files."""
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as out:
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(["path", "label", "reason"])
        rows.writerows(skipped)
