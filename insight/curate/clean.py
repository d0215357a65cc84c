"""Removal of label noise from a record set: images of other people, and copies.

Each identity is judged separately, by the embeddings of its images, in one pass over the set. If the images of each
identity are contiguous, only one identity is in memory at a time. Identities are not dropped because of their size.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Dict, Iterable, Iterator, List, Optional, Tuple

import numpy as np

from ..errors import InsightError
from ..files import atomic
from ..formats import property, shards
from ..formats.faceset import FaceSet
from ..sets.payloads import refuse_unusable
from ..sets.rewrite import SetStream, count_records, new_set, rec_of, refuse_outputs
from .centres import Embed, People, unit_embeddings
from .thresholds import CleanRules
from .verdict import Judge, Verdict

REPORT_NAME = "clean.csv"
COLUMNS = ("key", "label", "person", "decision", "reason", "cosine", "copy_of", "new_label")


DEFAULT_RULES = CleanRules()


@dataclass
class CleanReport:
    """The result of cleaning a set."""

    source: str
    output: str
    written: bool
    images: int
    people: int
    dropped: Counter = field(default_factory=Counter)
    several: List[int] = field(default_factory=list)  # labels of identities with images of two people or more
    vanished: int = 0  # number of identities without a remaining image
    kept: int = 0
    identities: int = 0
    image_size: Tuple[int, int] = (0, 0)
    report: Optional[str] = None
    notes: List[str] = field(default_factory=list)
    words: Dict[str, str] = field(default_factory=dict)  # description of the images dropped for each reason
    shard_count: int = 1

    def lines(self) -> List[str]:
        """Return the report as lines of text."""
        dropped = ", ".join(f"{self.dropped[reason]} {words}" for reason, words in self.words.items())
        lines = [
            *self.notes,
            f"{self.source}: {self.images} images of {self.people} identities: {self.kept} kept; {dropped}",
        ]
        if self.several:
            some = ", ".join(map(str, self.several[:10])) + (", .." if len(self.several) > 10 else "")
            lines.append(f"identities that are two people or more: {len(self.several)} (labels {some})")
        if self.vanished:
            lines.append(f"identities without a remaining image: {self.vanished}")
        verb = rec_of(self.output, self.shard_count) if self.written else "dry run, no set is written"
        properties = property.Property(self.identities, *self.image_size).text()
        lines.append(f"{verb}: {count_records(self.kept, self.identities)}; property {properties}")
        return lines + ([f"decisions: {self.report}"] if self.report else [])


def clean(
    source: str,
    output: Optional[str],
    embed: Embed,
    rules: Judge = DEFAULT_RULES,
    dry_run: bool = False,
    report: Optional[str] = None,
    overwrite: bool = False,
    shard_count: int = 1,
) -> CleanReport:
    """Write a set without label noise. Labels are renumbered, payload bytes are unchanged.

    Parameters
    ----------
    source : str
        Record set: folder, .rec or prefix.
    output : str, optional
        Folder of the new set; not needed for a dry run.
    embed : callable
        Maps the path of a .rec to the embeddings of its images; see ``centres.Embed``.
    rules : Judge
        Thresholds, :class:`CleanRules`, or class centres, :class:`insight.curate.by_centres.CentreRules`.
    dry_run : bool
        Judge and count images without writing a set. A report is written only if its path is given.
    report : str, optional
        CSV file with a row per image; default: ``clean.csv`` in the output folder.
    overwrite : bool
        Replace existing outputs.
    shard_count : int
        Number of .rec files of the new set; see :mod:`insight.formats.shards`.

    Raises
    ------
    InsightError
        The set is missing or damaged, an option is invalid, an output already exists, or no image would be left.
    """
    rules.check()
    if output is None and not dry_run:
        raise InsightError("--output: missing; give the folder of the clean set, or --dry-run")
    with FaceSet.open(source) as faces, ExitStack() as opened:
        refuse_outputs(faces.records.rec_paths, None if dry_run else output, [report], overwrite)
        shards.check_count(shard_count, len(faces), source)
        refuse_unusable(faces)
        rules.check_set(faces)
        set_people = People.of(faces)
        result = CleanReport(source, output or "", not dry_run, len(faces), len(set_people), notes=faces.notes)
        result.words = rules.WORDS
        result.image_size, result.report, result.shard_count = faces.image_size, report, shard_count
        stream = table = None
        if not dry_run:
            beside = [REPORT_NAME] if report is None else []
            stream, staging = opened.enter_context(
                new_set(output, faces.image_size, len(faces), shard_count, beside, overwrite)
            )
            if report is None:
                result.report = os.path.join(output, REPORT_NAME)
                table = open(staging.path(REPORT_NAME), "w", encoding="utf-8", newline="")
                opened.enter_context(table)
        if report is not None:
            table = opened.enter_context(atomic.write_beside(report, "w", encoding="utf-8", newline=""))
        _one_pass(faces, set_people, unit_embeddings(embed, faces.rec_path), rules, result, stream, table)
        return result


def _one_pass(
    faces, set_people: People, batches, rules, result: CleanReport, stream: Optional[SetStream], table
) -> None:
    """Judge each identity, write its images and report on them as soon as its embeddings are complete."""
    rows = csv.writer(table, lineterminator="\n") if table else None
    if rows:
        rows.writerow(COLUMNS)
    for identity, embeddings in identities(set_people, batches):
        label, first, images = int(set_people.labels[identity]), result.identities, set_people.images(identity)
        verdict = rules.judge(label, embeddings)
        if stream:
            for group in verdict.groups:
                stream.write(map(faces.payload, images[group].tolist()))
        if rows:
            rows.writerows(_rows(verdict, faces.images[images], label, first))
        _count(result, verdict, label)


def identities(set_people: People, batches: Iterable[np.ndarray]) -> Iterator[Tuple[int, np.ndarray]]:
    """Yield each identity and its embeddings, (n, E) in the order of the set, as soon as these are complete."""
    waiting: Dict[int, List[np.ndarray]] = {}
    missing = set_people.counts()
    done = 0
    for batch in batches:
        own = set_people.rows(done, done + len(batch))
        done += len(batch)
        cuts = np.flatnonzero(own[1:] != own[:-1]) + 1
        for part, begin in zip(np.split(batch, cuts), [0, *cuts.tolist()]):
            identity = int(own[begin])
            waiting.setdefault(identity, []).append(part)
            missing[identity] -= len(part)
            if not missing[identity]:
                yield identity, np.concatenate(waiting.pop(identity))


def _count(result: CleanReport, verdict: Verdict, label: int) -> None:
    result.dropped.update(reason for reason in verdict.reason if reason)
    result.kept += sum(map(len, verdict.groups))
    result.identities += len(verdict.groups)
    result.vanished += not verdict.groups
    if verdict.people > 1:
        result.several.append(label)


def _rows(verdict: Verdict, keys: np.ndarray, label: int, first: int) -> Iterator[tuple]:
    new = np.full(len(keys), -1)
    for number, group in enumerate(verdict.groups):
        new[group] = first + number
    for i, key in enumerate(keys.tolist()):
        original, kept = int(verdict.copy_of[i]), new[i] >= 0
        yield (
            *(key, label, int(verdict.person[i]), "keep" if kept else "drop", verdict.reason[i]),
            *(f"{verdict.cosine[i]:.4f}", int(keys[original]) if original >= 0 else "", int(new[i]) if kept else ""),
        )
