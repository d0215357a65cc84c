"""A record set -> the set without its noise: strangers, second people, copies.

Each identity is judged by itself, from the embeddings of its images, as they come by: a set in
which identities stand together is cleaned in one pass, holding one identity at a time. Neither
large nor small identities are dropped for their size.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from ..errors import InsightError
from ..files import atomic
from ..formats import property
from ..formats.faceset import FaceSet
from ..sets.payloads import refuse_unusable
from ..sets.rewrite import FILES, SetStream, count_records, new_set, refuse_outputs
from .centres import Embed, People, unit_embeddings
from .outliers import copies, people, robust_centre

DROP_SMALLER, SPLIT, KEEP = "drop-smaller", "split", "keep"
COPY, SECOND, FAR = "copy", "second person", "far"
REPORT_NAME = "clean.csv"
COLUMNS = ("key", "label", "person", "decision", "reason", "cosine", "copy_of", "new_label")


class CleanRules(NamedTuple):
    """What decides; all but ``smallest`` are cosines.

    Attributes
    ----------
    threshold : float
        An image with less to the robust centre of its person is a stranger. -1 drops none.
    copy : float
        An image with this or more to an earlier one of its identity repeats it. Above 1 drops none.
    apart : float
        Two groups of an identity's images whose centres have less are two people. -1 finds none.
    smallest : int
        Images that each of the two must have.
    on_two : str
        ``drop-smaller`` keeps the person with most images, ``split`` makes each an identity,
        ``keep`` leaves them as one.
    """

    threshold: float = 0.3
    copy: float = 0.95
    apart: float = 0.3
    smallest: int = 3
    on_two: str = DROP_SMALLER

    def check(self) -> None:
        for option, value, low, high in (
            ("--threshold", self.threshold, -1, 1),
            ("--copy", self.copy, -1, 2),
            ("--apart", self.apart, -1, 1),
        ):
            if not low <= value <= high:
                raise InsightError(f"{option} {value}: a cosine from {low} to {high} is wanted")
        if self.smallest < 1:
            raise InsightError(f"--smallest {self.smallest}: must be at least 1")


DEFAULT_RULES = CleanRules()


class Verdict(NamedTuple):
    """On the n images of one identity.

    Attributes
    ----------
    person : numpy.ndarray
        (n,) int64: 0 has most images.
    reason : list of str
        Why each goes; empty if it stays.
    cosine : numpy.ndarray
        (n,) float32: to the centre of its person, or of person 0 if it goes as a second person;
        of a copy, to the image that it repeats.
    copy_of : numpy.ndarray
        (n,) int64: which image that is; -1 for all others.
    groups : list of numpy.ndarray
        Positions of the images of each identity that remains.
    """

    person: np.ndarray
    reason: List[str]
    cosine: np.ndarray
    copy_of: np.ndarray
    groups: List[np.ndarray]


def judge(rows: np.ndarray, rules: CleanRules) -> Verdict:
    """Judge the images of one identity by their normalised embeddings (n, E).

    Copies go first, so that a picture which stands there often has one voice; then people are
    told apart; then each person's strangers go.
    """
    copy_of = copies(rows, rules.copy)
    single = np.flatnonzero(copy_of < 0)
    person, cosine = np.zeros(len(rows), np.int64), np.ones(len(rows), np.float32)
    found = [single[group] for group in people(rows[single], rules.apart, rules.smallest)]
    for number, group in enumerate(found):
        person[group] = number
        own = number if rules.on_two != DROP_SMALLER else 0
        cosine[group] = rows[group] @ robust_centre(rows[found[own]])
    repeats = np.flatnonzero(copy_of >= 0)
    person[repeats] = person[copy_of[repeats]]
    cosine[repeats] = np.einsum("ij,ij->i", rows[repeats], rows[copy_of[repeats]])
    reason = np.full(len(rows), "", object)
    reason[cosine < rules.threshold] = FAR
    if rules.on_two == DROP_SMALLER:
        reason[person > 0] = SECOND
    reason[repeats] = COPY
    stays = reason == ""
    groups = [np.flatnonzero(stays & (person == number)) for number in range(len(found))]
    if rules.on_two != SPLIT:
        groups = [np.flatnonzero(stays)]
    return Verdict(person, reason.tolist(), cosine, copy_of, [group for group in groups if len(group)])


@dataclass
class CleanReport:
    """What became of the set."""

    source: str
    output: str
    written: bool
    images: int
    people: int
    dropped: Counter = field(default_factory=Counter)
    several: List[int] = field(default_factory=list)  # labels of identities that are two people or more
    vanished: int = 0  # identities of which nothing is left
    kept: int = 0
    identities: int = 0
    image_size: Tuple[int, int] = (0, 0)
    report: Optional[str] = None
    notes: List[str] = field(default_factory=list)

    def lines(self) -> List[str]:
        """The report in sentences, for a person."""
        said = ", ".join(f"{self.dropped[reason]} {words}" for reason, words in _WORDS.items())
        lines = [
            *self.notes,
            f"{self.source}: {self.images} images of {self.people} identities: {self.kept} kept; {said}",
        ]
        if self.several:
            some = ", ".join(map(str, self.several[:10])) + (", .." if len(self.several) > 10 else "")
            lines.append(f"identities that are two people or more: {len(self.several)} (labels {some})")
        if self.vanished:
            lines.append(f"identities of which no image is left: {self.vanished}")
        verb = os.path.join(self.output, FILES[0]) if self.written else "dry run, no set is written"
        said = property.Property(self.identities, *self.image_size).text()
        lines.append(f"{verb}: {count_records(self.kept, self.identities)}; property {said}")
        return lines + ([f"each decision: {self.report}"] if self.report else [])


_WORDS = {FAR: "far from their centre", SECOND: "of a second person", COPY: "copies"}


def clean(
    source: str,
    output: Optional[str],
    embed: Embed,
    rules: CleanRules = DEFAULT_RULES,
    dry_run: bool = False,
    report: Optional[str] = None,
    overwrite: bool = False,
) -> CleanReport:
    """Write a set without its noise; labels are numbered anew, payloads stay as they are.

    Parameters
    ----------
    source : str
        Record set: folder, .rec or prefix.
    output : str, optional
        Folder of the new set; may be missing in a dry run.
    embed : callable
        Path of a .rec -> embeddings of its images; see ``centres.Embed``.
    rules : CleanRules
    dry_run : bool
        Judge and count; write no set, and a report only where its path is given.
    report : str, optional
        CSV with a row per image; else ``clean.csv`` in the output folder.
    overwrite : bool
        Replace outputs that stand there.

    Raises
    ------
    InsightError
        The set is missing or damaged, an option does not fit, an output stands there, or no image
        would be left.
    """
    rules.check()
    if output is None and not dry_run:
        raise InsightError("--output: missing; give the folder of the clean set, or --dry-run")
    with FaceSet.open(source) as faces, ExitStack() as opened:
        refuse_outputs([faces.rec_path], None if dry_run else output, [report], overwrite)
        refuse_unusable(faces)
        who = People.of(faces)
        result = CleanReport(source, output or "", not dry_run, len(faces), len(who), notes=faces.notes)
        result.image_size, result.report = faces.image_size, report
        stream = table = None
        if not dry_run:
            beside = [REPORT_NAME] if report is None else []
            stream, staging = opened.enter_context(new_set(output, faces.image_size, beside, overwrite))
            if report is None:
                result.report = os.path.join(output, REPORT_NAME)
                table = open(staging.path(REPORT_NAME), "w", encoding="utf-8", newline="")
                opened.enter_context(table)
        if report is not None:
            table = opened.enter_context(atomic.write_beside(report, "w", encoding="utf-8", newline=""))
        _one_pass(faces, who, unit_embeddings(embed, faces.rec_path), rules, result, stream, table)
        return result


def _one_pass(faces, who: People, batches, rules, result: CleanReport, stream: Optional[SetStream], table) -> None:
    """Judge, write and report each identity as soon as its embeddings are there."""
    rows = csv.writer(table, lineterminator="\n") if table else None
    if rows:
        rows.writerow(COLUMNS)
    for identity, embeddings in identities(who, batches):
        verdict, images = judge(embeddings, rules), who.images(identity)
        label, first = int(who.labels[identity]), result.identities
        if stream:
            for group in verdict.groups:
                stream.write(map(faces.payload, images[group].tolist()))
        if rows:
            rows.writerows(_rows(verdict, faces.images[images], label, first))
        _count(result, verdict, label)


def identities(who: People, batches: Iterable[np.ndarray]) -> Iterator[Tuple[int, np.ndarray]]:
    """Each identity and its images' embeddings (n, E), as soon as all have come by, in the set's order."""
    waiting: Dict[int, List[np.ndarray]] = {}
    missing = who.counts()
    done = 0
    for batch in batches:
        own = who.rows[done : done + len(batch)]
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
    if verdict.person.any():
        result.several.append(label)


def _rows(verdict: Verdict, keys: np.ndarray, label: int, first: int) -> Iterator[tuple]:
    new = np.full(len(keys), -1)
    for number, group in enumerate(verdict.groups):
        new[group] = first + number
    for i, key in enumerate(keys.tolist()):
        of, stays = int(verdict.copy_of[i]), new[i] >= 0
        yield (
            *(key, label, int(verdict.person[i]), "keep" if stays else "drop", verdict.reason[i]),
            *(f"{verdict.cosine[i]:.4f}", int(keys[of]) if of >= 0 else "", int(new[i]) if stays else ""),
        )
