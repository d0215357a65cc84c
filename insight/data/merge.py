"""Several record sets -> one, in which each person stands once and nobody of the test sets.

Decisions are InsightFace's (``src/data/dataset_merge.py`` @9fc3cc9c): identities are compared by
their centres; the first set is kept whole; an identity of a later set is dropped, with all its
images, if its cosine to any identity kept from the sets before it reaches ``param1``; then
whoever reaches ``param2`` against an excluded image, or an excluded set's identity, goes.
InsightFace meant the latter, and did not do it.
"""

from __future__ import annotations

import csv
import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import InsightError
from ..formats import atomic, evalbin, property
from ..formats.faceset import FaceSet
from ..plots import histogram as histograms
from ..plots import picture
from ..progress import track
from .centres import Embed, People, centres, directions
from .overlap import Decisions, Rules, decide
from .rewrite import FILES, count_records, new_set, refuse_outputs

REPORT_NAME = "merge.csv"
DEFAULT_RULES = Rules()
VERDICTS = {"kept": "keep", "dropped": "drop", "pooled": "pool", "excluded": "exclude"}
COLUMNS = (
    *("set", "label", "images", "decision", "new_label"),
    *("nearest_set", "nearest_label", "cosine"),
    *("excluded_by", "excluded_item", "excluded_cosine"),
)


class Excluded(NamedTuple):
    """Directions (X, E) that are excluded; ``name(row)`` tells the source and its image or label."""

    rows: np.ndarray
    sources: List[str]
    begins: np.ndarray
    labels: List[Optional[np.ndarray]]

    def name(self, row: int) -> Tuple[str, int]:
        which = int(np.searchsorted(self.begins, row, side="right")) - 1
        item = row - int(self.begins[which])
        labels = self.labels[which]
        return self.sources[which], item if labels is None else int(labels[item])


def read_excluded(paths: Sequence[str], embed: Embed) -> Excluded:
    """Embed what is excluded: each image of a verification .bin, each identity's centre of a record set.

    Raises
    ------
    InsightError
        A path is neither.
    """
    rows, labels = [], []
    for path in paths:
        if evalbin.is_bin(path):
            evalbin.read_bin(path)
            rows.append(np.concatenate(list(directions(embed, path))))
            labels.append(None)
            continue
        with FaceSet.open(path) as faces:
            people = People.of(faces)
            rows.append(centres(embed, faces.rec_path, people))
            labels.append(people.labels)
    begins = np.cumsum([0, *(len(block) for block in rows[:-1])])
    return Excluded(np.concatenate(rows), list(paths), begins, labels)


@dataclass
class MergeReport:
    """What became of the sets."""

    output: str
    written: bool
    rows: List[Tuple[str, int, dict]]  # set, images, number of each decision
    total: str  # counts of the new set's records
    property: property.Property
    report: Optional[str]
    notes: List[str] = field(default_factory=list)

    def lines(self) -> List[str]:
        """The report in sentences, for a person."""
        lines = [*self.notes]
        for name, images, number in self.rows:
            said = ", ".join(f"{n} {what}" for what, n in number.items() if n)
            lines.append(f"{name}: {sum(number.values())} identities, {images} images: {said}")
        verb = os.path.join(self.output, FILES[0]) if self.written else "dry run, no set is written"
        lines.append(f"{verb}: {self.total}; property {self.property.text()}")
        if self.report:
            lines.append(f"each decision: {self.report}")
        return lines


def merge(
    include: Sequence[str],
    output: Optional[str],
    exclude: Sequence[str] = (),
    embed: Optional[Embed] = None,
    rules: Rules = DEFAULT_RULES,
    dry_run: bool = False,
    report: Optional[str] = None,
    histogram: Optional[str] = None,
    overwrite: bool = False,
) -> MergeReport:
    """Merge record sets.

    Parameters
    ----------
    include : sequence of str
        Sets (folder, .rec or prefix) in the order of precedence.
    output : str, optional
        Folder of the new set; may be missing in a dry run.
    exclude : sequence of str
        Verification .bin files and record sets whose people must not be in the result.
    embed : callable, optional
        Path of a .rec or .bin -> embeddings of its images; see ``centres.Embed``. Without it
        nothing can be compared, which ``rules.param1`` of 0 asks for.
    rules : Rules
    dry_run : bool
        Decide and count; write no set, and a report or picture only where its path is given.
    report : str, optional
        CSV of every decision; else ``merge.csv`` in the output folder.
    histogram : str, optional
        Picture of the nearest cosines, .png or .svg.
    overwrite : bool
        Replace outputs that stand there.

    Raises
    ------
    InsightError
        A set is missing, damaged, given twice or of another image size; an option does not fit;
        an output stands there; or nobody is left.
    """
    rules.check()
    if embed is None and (rules.param1 or exclude or rules.within):
        raise InsightError(
            "--model: missing, and identities are to be compared; give one, or --param1 0 to append sets"
        )
    if output is None and not dry_run:
        raise InsightError("--output: missing; give the folder of the merged set, or --dry-run")
    if histogram is not None:
        if embed is None:
            raise InsightError("--histogram: without a model there are no cosines to draw; leave it out")
        picture.require(histogram, "--histogram")
    with ExitStack() as opened:
        sets = _open_all(include, opened)
        sources = [faces.rec_path for faces in sets]
        refuse_outputs(sources, None if dry_run else output, (report, histogram), overwrite)
        people = [People.of(faces) for faces in sets]
        refused = read_excluded(exclude, embed) if exclude else None
        every = _all_centres(sets, people, embed) if rules.param1 or refused else None
        decisions = decide([len(p) for p in people], every, rules, refused and refused.rows)
        del every
        rows = _Rows(list(include), people, decisions, refused)
        if histogram is not None:
            histograms.draw(histogram, _spreads(decisions, rules, refused is not None))
        if report is not None:
            with atomic.write_beside(report, "w", encoding="utf-8", newline="") as out:
                rows.write(out)
        if not dry_run:
            _write(output, sets, rows, report is None, overwrite)
            report = report or os.path.join(output, REPORT_NAME)
        return _summary(output or "", sets, rows, dry_run, report)


def _open_all(include: Sequence[str], opened: ExitStack) -> List[FaceSet]:
    if not include:
        raise InsightError("--include: names no set; give one or more, with commas between")
    sets: List[FaceSet] = []
    for path in include:
        faces = opened.enter_context(FaceSet.open(path))
        for before, name in zip(sets, include):
            if os.path.samefile(before.rec_path, faces.rec_path):
                raise InsightError(f"--include: {name} and {path} are the same set ({faces.rec_path}); give it once")
            if before.image_size != faces.image_size:
                raise InsightError(
                    f"--include: {path} has images of {_by(faces.image_size)} (height x width), {name} of "
                    f"{_by(before.image_size)}; one set holds one size: pack one of them again with face2rec"
                )
        sets.append(faces)
    return sets


def _by(size: Tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _all_centres(sets: Sequence[FaceSet], people: Sequence[People], embed: Embed) -> np.ndarray:
    """(K, E) float32, one set after the other."""
    every, done = np.empty((0, 0), np.float32), 0
    for faces, who in zip(sets, people):
        block = centres(embed, faces.rec_path, who)
        if not done:
            every = np.empty((sum(map(len, people)), block.shape[1]), np.float32)
        every[done : done + len(block)] = block
        done += len(block)
    return every


def _spreads(decisions: Decisions, rules: Rules, excluding: bool) -> List[histograms.Spread]:
    found = []
    if (decisions.nearest >= 0).any() or not excluding:
        found.append(histograms.Spread("nearest earlier identity", decisions.cosine, rules.param1))
    if excluding:
        found.append(histograms.Spread("nearest excluded face", decisions.excluder_cosine, rules.param2))
    return found


class _Rows:
    """Identities of all sets under one number, as :class:`Decisions` has them."""

    def __init__(self, names: List[str], people: List[People], decisions: Decisions, excluded: Optional[Excluded]):
        self.names = names
        self.people = people
        self.decisions = decisions
        self.excluded = excluded
        self.begins = np.cumsum([0, *(len(p) for p in people)])

    def locate(self, row: int) -> Tuple[int, int]:
        """(set, identity in it)."""
        which = int(np.searchsorted(self.begins, row, side="right")) - 1
        return which, row - int(self.begins[which])

    def write(self, out: IO) -> None:
        """A row per identity, in the order of the sets; empty cells where nothing was compared."""
        table = csv.writer(out, lineterminator="\n")
        table.writerow(COLUMNS)
        d, verdicts = self.decisions, self.decisions.names()
        for row, verdict in enumerate(verdicts):
            which, identity = self.locate(row)
            who = self.people[which]
            count = int(who.edges[identity + 1] - who.edges[identity])
            new_label = int(d.new_label[row])
            cells = [self.names[which], int(who.labels[identity]), count, verdict, new_label if new_label >= 0 else ""]
            table.writerow(cells + self._nearest(row) + self._excluder(row))

    def _nearest(self, row: int) -> list:
        target = int(self.decisions.nearest[row])
        if target < 0:
            return ["", "", ""]
        which, identity = self.locate(target)
        label = int(self.people[which].labels[identity])
        return [self.names[which], label, f"{self.decisions.cosine[row]:.4f}"]

    def _excluder(self, row: int) -> list:
        target = int(self.decisions.excluder[row])
        if target < 0 or self.excluded is None:
            return ["", "", ""]
        return [*self.excluded.name(target), f"{self.decisions.excluder_cosine[row]:.4f}"]

    def members(self) -> List[np.ndarray]:
        """For each new label, the identities whose images it gets, earlier ones first."""
        kept = np.flatnonzero(self.decisions.new_label >= 0)
        labels = self.decisions.new_label[kept]
        by_label = np.argsort(labels, kind="stable")
        return np.split(kept[by_label], np.cumsum(np.bincount(labels))[:-1]) if len(kept) else []

    def image_count(self) -> int:
        counts = np.concatenate([p.counts() for p in self.people])
        return int(counts[self.decisions.new_label >= 0].sum())


def _write(output: str, sets: Sequence[FaceSet], rows: _Rows, with_report: bool, overwrite: bool) -> None:
    beside = [REPORT_NAME] if with_report else []
    with new_set(output, sets[0].image_size, beside, overwrite) as (stream, staging):
        if with_report:
            with open(staging.path(REPORT_NAME), "w", encoding="utf-8", newline="") as out:
                rows.write(out)
        for members in track(rows.members(), "merging", unit="identities"):
            payloads = []
            for row in members.tolist():
                which, identity = rows.locate(row)
                payloads += map(sets[which].payload, rows.people[which].images(identity).tolist())
            stream.write(payloads)


def _summary(output: str, sets: Sequence[FaceSet], rows: _Rows, dry_run: bool, report: Optional[str]) -> MergeReport:
    verdicts = np.array(rows.decisions.names())
    table, notes = [], [note for faces in sets for note in faces.notes]
    for which, (name, faces, who) in enumerate(zip(rows.names, sets, rows.people)):
        own = verdicts[rows.begins[which] : rows.begins[which + 1]]
        table.append((name, len(faces), {word: int((own == past).sum()) for word, past in VERDICTS.items()}))
        overlapping = int(np.isin(own, ("drop", "pool")).sum())
        if 2 * overlapping > len(own):
            notes.append(
                f"{name}: {overlapping} of {len(own)} identities count as persons of other sets; if that is not so, "
                f"--param1 is too low for this model: see the cosines in the report or --histogram"
            )
        if len(who) < len(faces.identities):
            notes.append(
                f"{name}: {len(faces.identities)} runs of {len(who)} labels; each label is taken as one identity"
            )
    identities = len(rows.members())
    said = property.Property(identities, *sets[0].image_size)
    return MergeReport(output, not dry_run, table, count_records(rows.image_count(), identities), said, report, notes)
