"""Verification sets (.bin) from identity folders, a list or a file of pairs."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, field
from itertools import islice
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from ..errors import InsightError
from ..executor import Workforce
from ..files.atomic import temporary_beside, write_beside
from ..files.commit import refuse_existing
from ..files.places import Places
from ..formats.evalbin import write_bin
from ..formats.lst import Entry, iter_lst
from ..progress import track
from .intake import prepare_all
from .pack import write_skipped
from .pairfile import read_pairs
from .pairplan import plan_pairs
from .prepare import DECODE, DEFAULT_SIZE, SKIP, ImageTarget, Prepared, Skip, stops, under_policy
from .scan import entries_of, scan_identities
from .unpack import PAIRS_COLUMNS

DEFAULT_PAIRS, DEFAULT_FOLDS, DEFAULT_SEED = 6000, 10, 0


class Pair(NamedTuple):
    """Two images to compare."""

    first: Entry
    second: Entry
    same: bool


@dataclass
class BinReport:
    """The contents of a verification set, and the images that were skipped."""

    path: str
    pairs: int = 0
    same: int = 0
    folds: Optional[int] = None
    asked: Optional[int] = None
    converted: int = 0
    skipped: List[Tuple[str, int, str]] = field(default_factory=list)
    dropped: int = 0
    skipped_path: Optional[str] = None
    damaged: List[Tuple[str, int, str]] = field(default_factory=list)  # damaged, but used
    damaged_path: Optional[str] = None
    left_out: List[str] = field(default_factory=list)  # lines about files of the folder that were skipped unopened

    def lines(self) -> List[str]:
        lines = [f"{self.path}: {self.pairs} pairs, {self.same} of one person and {self.pairs - self.same} of two"]
        if self.folds is not None:
            lines[0] += f", in {self.folds} folds that share no person"
        if self.asked is not None and self.pairs < self.asked:
            lines.append(f"  {self.asked} pairs were requested; these images do not give more evenly spread pairs")
        if self.converted:
            lines.append(f"  {self.converted} images were converted, the others are unchanged")
        if self.skipped:
            what = f"{self.dropped} pairs with them were skipped" if self.dropped else "others were drawn instead"
            lines.append(f"  {len(self.skipped)} images cannot be used, {what}; see {self.skipped_path}")
        if self.damaged:
            lines.append(f"  warning: {len(self.damaged)} damaged images were used unchanged; see {self.damaged_path}")
        return lines + [f"  {line}" for line in self.left_out]


def make_bin(
    source: str,
    output: str,
    pairs: Optional[int] = None,
    folds: Optional[int] = None,
    seed: Optional[int] = None,
    image_root: Optional[str] = None,
    size: Optional[Tuple[int, int]] = None,
    suffix: str = ".jpg",
    quality: Optional[int] = None,
    workers: Workforce = 1,
    on_error: str = SKIP,
    pairs_output: Optional[str] = None,
    overwrite: bool = False,
    check: str = DECODE,
    damaged: str = SKIP,
) -> BinReport:
    """Write a verification set.

    Parameters
    ----------
    source : str
        A folder of identity folders or a .lst, from which pairs are drawn; or a file of pairs, all of which are used
        (see :func:`insight.sets.pairfile.read_pairs`).
    output : str
        The .bin file to write.
    pairs, folds, seed : int, optional
        Options for drawing pairs; see :func:`insight.sets.pairplan.plan_pairs`. Defaults: 6000, 10 and 0.
    image_root : str, optional
        Folder that the paths in a .lst or a file of pairs are relative to. Default for a file of pairs: its folder.
    size, suffix, quality, workers, on_error, check, damaged
        As in :func:`insight.sets.pack.pack`. Unusable images are listed in ``<stem>.skipped.csv``, damaged images
        that were kept in ``<stem>.damaged.csv``, where ``<stem>`` is ``output`` without its suffix.
    pairs_output : str, optional
        CSV file (image_a, image_b, same) to which the pairs are also written.
    overwrite : bool
        Replace existing outputs.

    Raises
    ------
    InsightError
        The input is invalid, has too few people or images, or gives pairs of only one kind, which verification
        refuses; or an output already exists.
    """
    stem = os.path.splitext(output)[0]
    report = BinReport(output, skipped_path=stem + ".skipped.csv", damaged_path=stem + ".damaged.csv")
    for path in [output, *([pairs_output] if pairs_output else [])] if not overwrite else ():
        refuse_existing(os.path.dirname(path), [os.path.basename(path)])
    is_folder, is_list = os.path.isdir(source), source.lower().endswith(".lst")
    if is_folder and image_root is not None:
        raise InsightError("--image-root: is for a list or a file of pairs; leave it out")
    places = Places("" if is_folder else os.path.dirname(source), image_root if is_list else None)
    images = _Images(ImageTarget(size or DEFAULT_SIZE, suffix, quality), places, workers, on_error, check, damaged)
    if is_folder or is_list:
        people = _people_of(source, report)
        report.asked = DEFAULT_PAIRS if pairs is None else pairs
        chosen = _draw(people, images, report, DEFAULT_FOLDS if folds is None else folds, seed or DEFAULT_SEED)
    else:
        if not (pairs is folds is seed is None):
            raise InsightError(
                "--pairs, --folds, --seed: are for drawing pairs, not for a file of pairs; leave them out"
            )
        root = os.path.dirname(source) if image_root is None else image_root
        listed = [_pair(root, *row) for row in read_pairs(source, root)]
        _refuse_one_kind(source, listed)
        chosen = _follow(listed, images, report)
        _refuse_one_kind(source, chosen, images.bad)
    _write(chosen, images, report, pairs_output)
    return report


def _refuse_one_kind(source: str, pairs: Sequence[Pair], bad: Optional[Dict[Entry, Skip]] = None) -> None:
    """Raise if all pairs are of one kind. ``bad`` holds the unusable images, whose pairs were skipped."""
    same = sum(pair.same for pair in pairs)
    if same in (0, len(pairs)):
        kind, other = ("one person", "two people") if same else ("two people", "one person")
        first, reason = next(iter(bad.items())) if bad else (None, "")
        which = f" whose images can be used (not {first.path}: {reason})" if first else ""
        raise InsightError(
            f"{source}: all {len(pairs)} pairs{which} are of {kind}, and accuracy needs pairs of both kinds; add pairs "
            f"of {other}"
        )


def _pair(root: str, first: str, second: str, same: bool) -> Pair:
    return Pair(Entry(os.path.join(root, first), 0), Entry(os.path.join(root, second), 0), same)


def _people_of(source: str, report: BinReport) -> List[List[Entry]]:
    if os.path.isdir(source):
        scan = scan_identities(source)
        report.left_out = scan.skipped.lines() + scan.notes
        entries: Iterable[Entry] = entries_of(scan.identities)
    else:
        entries = iter_lst(source)
    people: Dict[int, List[Entry]] = {}
    for entry in entries:
        people.setdefault(entry.label, []).append(entry)
    people.pop(-1, None)  # unlabelled
    return list(people.values())


class _Images:
    """Prepared images by entry, and the reasons of unusable ones. Each image is read once."""

    def __init__(
        self, target: ImageTarget, places: Places, workers: Workforce, on_error: str, check: str, damaged: str
    ):
        self._target, self._places, self._workers, self._check = target, places, workers, check
        self._policies = on_error, damaged
        self.ready: Dict[Entry, Prepared] = {}
        self.bad: Dict[Entry, Skip] = {}

    def usable(self, pair: Pair) -> bool:
        return pair.first not in self.bad and pair.second not in self.bad

    def load(self, entries: Iterable[Entry]) -> None:
        wanted = [e for e in dict.fromkeys(entries) if e not in self.ready and e not in self.bad]
        outcomes = prepare_all(wanted, self._target, self._places, self._workers, self._check)
        for entry, outcome in track(outcomes, "reading", len(wanted), "images"):
            outcome = under_policy(outcome, self._policies[1])
            if not isinstance(outcome, Skip):
                self.ready[entry] = outcome
                continue
            remedy = stops(outcome, *self._policies)
            if remedy:
                raise InsightError(f"{entry.path}: {outcome}; repair or remove it, or {remedy}")
            self.bad[entry] = outcome


def _draw(people: List[List[Entry]], images: _Images, report: BinReport, folds: int, seed: int) -> List[Pair]:
    """Draw pairs; pairs with an unusable image are replaced by pairs of the reserve."""
    plan = plan_pairs([len(entries) for entries in people], report.asked, folds, seed)
    pools = [
        [Pair(people[a][i], people[b][j], same) for a, i, b, j in rows.tolist()]
        for same, kind in ((True, plan.genuine), (False, plan.impostor))
        for rows in kind
    ]
    while True:
        picks = [list(islice((p for p in pool if images.usable(p)), plan.quota)) for pool in pools]
        failed = len(images.bad)
        images.load(e for pick in picks for pair in pick for e in pair[:2])
        if len(images.bad) == failed:
            break
    quota = min(map(len, picks))
    if not quota:
        entry, reason = next(iter(images.bad.items()))
        raise InsightError(f"too few usable images for a pair in every fold; the first bad one, {entry.path}: {reason}")
    report.folds = len(plan.genuine)
    folds_of = zip(picks[: report.folds], picks[report.folds :])
    # genuine and impostor pairs alternate, so any contiguous block of rows is balanced
    return [p for genuine, impostor in folds_of for both in zip(genuine[:quota], impostor[:quota]) for p in both]


def _follow(pairs: List[Pair], images: _Images, report: BinReport) -> List[Pair]:
    images.load(e for pair in pairs for e in pair[:2])
    chosen = [p for p in pairs if images.usable(p)]
    report.dropped = len(pairs) - len(chosen)
    if not chosen:
        entry, reason = next(iter(images.bad.items()))
        raise InsightError(f"none of the {len(pairs)} pairs can be used; the first image, {entry.path}: {reason}")
    return chosen


def _write(chosen: Sequence[Pair], images: _Images, report: BinReport, pairs_output: Optional[str]) -> None:
    used = {e for pair in chosen for e in pair[:2]}
    report.pairs, report.same = len(chosen), sum(p.same for p in chosen)
    report.converted = sum(bool(images.ready[e].changes) for e in used)
    report.skipped = [(e.path, e.label, str(reason)) for e, reason in images.bad.items()]
    report.damaged = [(e.path, e.label, images.ready[e].damage) for e in images.ready if e in used]
    report.damaged = [row for row in report.damaged if row[2]]
    for listed, rows in ((report.skipped_path, report.skipped), (report.damaged_path, report.damaged)):
        if rows:
            with temporary_beside(listed) as path:
                write_skipped(path, rows)
    if pairs_output is not None:
        with write_beside(pairs_output, "w", encoding="utf-8", errors="surrogateescape", newline="") as out:
            rows = csv.writer(out, lineterminator="\n")
            rows.writerow(PAIRS_COLUMNS)
            rows.writerows((p.first.path, p.second.path, int(p.same)) for p in chosen)
    payloads = [images.ready[e].payload for pair in chosen for e in pair[:2]]
    write_bin(report.path, payloads, [p.same for p in chosen])
