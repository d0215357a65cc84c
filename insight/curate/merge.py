"""Merging of record sets into one without duplicate people and without the people of test sets.

The rules are InsightFace's (``src/data/dataset_merge.py`` @9fc3cc9c). Identities are compared by their centres. The
first set is kept completely. An identity of a later set is dropped, with all its images, if its cosine to an identity
kept from earlier sets is at least ``param1``. Then identities whose cosine to an excluded image, or to an identity of
an excluded set, is at least ``param2`` are removed. InsightFace's script embeds an excluded set, but does not use it.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import List, Optional, Sequence, Tuple

import numpy as np

from ..errors import InsightError
from ..files import atomic
from ..formats import evalbin, property, shards
from ..formats.faceset import FaceSet
from ..plots import histogram as histograms
from ..plots import picture
from ..progress import track
from ..sets.pack import SET_NAME
from ..sets.payloads import no_images, refuse_unusable
from ..sets.rewrite import SetStream, count_records, new_set, rec_of, refuse_outputs
from .centres import Embed, People, centres, unit_embeddings
from .merge_rows import Excluded, Rows
from .overlap import Decisions, Rules, decide

REPORT_NAME = "merge.csv"
SKIPPED_NAME = SET_NAME + ".skipped.csv"
DEFAULT_RULES = Rules()
VERDICTS = {"kept": "keep", "dropped": "drop", "pooled": "pool", "excluded": "exclude"}


def read_excluded(paths: Sequence[str], embed: Embed) -> Excluded:
    """Embed excluded sets: the images of a verification .bin, or the identity centres of a record set.

    Raises
    ------
    InsightError
        A path is neither a .bin nor a record set.
    """
    rows, labels = [], []
    for path in paths:
        if evalbin.is_bin(path):
            evalbin.read_bin(path)
            rows.append(np.concatenate(list(unit_embeddings(embed, path))))
            labels.append(None)
            continue
        with FaceSet.open(path) as faces:
            refuse_unusable(faces)
            people = People.of(faces)
            rows.append(centres(embed, faces.rec_path, people))
            labels.append(people.labels)
    begins = np.cumsum([0, *(len(block) for block in rows[:-1])])
    return Excluded(np.concatenate(rows), list(paths), begins, labels)


@dataclass
class MergeReport:
    """The result of merging sets."""

    output: str  # path of the .rec
    written: bool
    rows: List[Tuple[str, int, dict]]  # set, number of images, number of identities by decision
    total: str  # text with the record counts of the new set
    property: property.Property
    report: Optional[str]
    notes: List[str] = field(default_factory=list)

    def lines(self) -> List[str]:
        """Return the report as lines of text."""
        lines = [*self.notes]
        for name, images, number in self.rows:
            counts = ", ".join(f"{n} {what}" for what, n in number.items() if n)
            lines.append(f"{name}: {sum(number.values())} identities, {images} images: {counts}")
        verb = self.output if self.written else "dry run, no set is written"
        lines.append(f"{verb}: {self.total}; property {self.property.text()}")
        if self.report:
            lines.append(f"decisions: {self.report}")
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
    shard_count: int = 1,
) -> MergeReport:
    """Merge record sets.

    Parameters
    ----------
    include : sequence of str
        Sets (folder, .rec or prefix) in order of precedence.
    output : str, optional
        Folder of the new set; not needed for a dry run.
    exclude : sequence of str
        Verification .bin files and record sets whose people must not be in the result.
    embed : callable, optional
        Maps the path of a .rec or .bin to the embeddings of its images; see ``centres.Embed``. Not needed if nothing
        is compared (``rules.param1`` is 0 and ``exclude`` is empty).
    rules : Rules
    dry_run : bool
        Decide and count without writing a set. A report or picture is written only if its path is given.
    report : str, optional
        CSV file with all decisions; default: ``merge.csv`` in the output folder.
    histogram : str, optional
        Picture file for a histogram of the highest cosines, .png or .svg.
    overwrite : bool
        Replace existing outputs.
    shard_count : int
        Number of .rec files of the new set; see :mod:`insight.formats.shards`.

    Raises
    ------
    InsightError
        A set is missing, damaged, given twice or of another image size; an option is invalid; an output already
        exists; or no identity is left.
    """
    rules.check()
    if embed is None and (rules.param1 or exclude or rules.within):
        raise InsightError("--model: missing, needed to compare identities; give one, or --param1 0 to append sets")
    if output is None and not dry_run:
        raise InsightError("--output: missing; give the folder of the merged set, or --dry-run")
    if histogram is not None:
        if embed is None:
            raise InsightError("--histogram: without a model there are no cosines to draw; omit it")
        picture.require(histogram, "--histogram")
    with ExitStack() as opened:
        sets = _open_all(include, opened)
        sources = [path for faces in sets for path in faces.records.rec_paths]
        shards.check_count(shard_count, sum(map(len, sets)), ",".join(include))
        skipped = None if dry_run else os.path.join(output, SKIPPED_NAME)
        refuse_outputs(sources, None if dry_run else output, (report, histogram, skipped), overwrite)
        compares = bool(rules.param1 or exclude)
        for faces in sets if compares else ():
            refuse_unusable(faces)
        people = [People.of(faces) for faces in sets]
        excluded = read_excluded(exclude, embed) if exclude else None
        all_centres = _all_centres(sets, people, embed) if compares else None
        decisions = decide([len(p) for p in people], all_centres, rules, excluded and excluded.rows)
        del all_centres
        rows = Rows(list(include), people, decisions, excluded)
        if histogram is not None:
            histograms.draw(histogram, _spreads(decisions, rules, excluded is not None))
        if not dry_run:
            _write(output, sets, rows, report is None, overwrite, shard_count)
        elif not compares:
            _copy(sets, rows, None)
        if report is not None:
            with atomic.write_beside(report, "w", encoding="utf-8", errors="surrogateescape", newline="") as out:
                rows.write(out)
        elif not dry_run:
            report = os.path.join(output, REPORT_NAME)
        return _summary(output or "", sets, rows, dry_run, report, shard_count)


def _open_all(include: Sequence[str], opened: ExitStack) -> List[FaceSet]:
    if not include:
        raise InsightError("--include: names no set; give one or more, separated by commas")
    sets: List[FaceSet] = []
    for path in include:
        faces = opened.enter_context(FaceSet.open(path))
        for earlier, name in zip(sets, include):
            if os.path.samefile(earlier.rec_path, faces.rec_path):
                raise InsightError(f"--include: {name} and {path} are the same set ({faces.rec_path}); give it once")
            if earlier.image_size != faces.image_size:
                raise InsightError(
                    f"--include: {path} has images of {_by(faces.image_size)} (height x width), {name} of "
                    f"{_by(earlier.image_size)}; one set has one size: rec2image, dir2lst and face2rec "
                    f"--image-size convert a set to another"
                )
        sets.append(faces)
    return sets


def _by(size: Tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _all_centres(sets: Sequence[FaceSet], people: Sequence[People], embed: Embed) -> np.ndarray:
    """Return the centres of all sets, (K, E) float32, in the order of the sets."""
    rows, done = np.empty((0, 0), np.float32), 0
    for faces, set_people in zip(sets, people):
        block = centres(embed, faces.rec_path, set_people)
        if not done:
            rows = np.empty((sum(map(len, people)), block.shape[1]), np.float32)
        rows[done : done + len(block)] = block
        done += len(block)
    return rows


def _spreads(decisions: Decisions, rules: Rules, excluding: bool) -> List[histograms.Spread]:
    spreads = []
    if (decisions.nearest >= 0).any() or not excluding:
        spreads.append(histograms.Spread("nearest earlier identity", decisions.cosine, rules.param1))
    if excluding:
        spreads.append(histograms.Spread("nearest excluded face", decisions.excluder_cosine, rules.param2))
    return spreads


def _copy(sets: Sequence[FaceSet], rows: Rows, stream: Optional[SetStream]) -> None:
    """Write the images of each new identity. Without a stream, only collect the unusable payloads."""
    emptied: List[int] = []
    what = "merging" if stream else "looking at images"
    for members in track(rows.members(), what, rows.identity_count(), "identities"):
        payloads = [payload for row in members.tolist() for payload in rows.payloads(sets, row)]
        if not payloads:
            emptied += members.tolist()
        elif stream:
            stream.write(payloads)
    if emptied:
        rows.drop(emptied)
    if rows.skipped and not rows.image_count():
        name, key, _, reason = rows.skipped[0]
        raise InsightError(f"{name}: no payload of these sets is an image; the first, key {key}: {reason}")


def _write(
    output: str, sets: Sequence[FaceSet], rows: Rows, with_report: bool, overwrite: bool, shard_count: int
) -> None:
    beside, images = [REPORT_NAME] if with_report else [], rows.image_count()
    with new_set(output, sets[0].image_size, images, shard_count, beside, overwrite) as (stream, staging):
        _copy(sets, rows, stream)
        if with_report:
            with open(staging.path(REPORT_NAME), "w", encoding="utf-8", errors="surrogateescape", newline="") as out:
                rows.write(out)
        if rows.skipped:
            with open(staging.path(SKIPPED_NAME), "w", encoding="utf-8", newline="") as out:
                rows.write_skipped(out)
        elif overwrite:
            staging.obsolete.append(SKIPPED_NAME)


def _summary(
    output: str, sets: Sequence[FaceSet], rows: Rows, dry_run: bool, report: Optional[str], shard_count: int
) -> MergeReport:
    verdicts = np.array(rows.decisions.names())
    table, notes = [], [note for faces in sets for note in faces.notes]
    for which, (name, faces, set_people) in enumerate(zip(rows.names, sets, rows.people)):
        own = verdicts[rows.begins[which] : rows.begins[which + 1]]
        table.append((name, len(faces), {word: int((own == past).sum()) for word, past in VERDICTS.items()}))
        overlapping = int(np.isin(own, ("drop", "pool")).sum())
        if 2 * overlapping > len(own):
            notes.append(
                f"{name}: {overlapping} of {len(own)} identities match persons of other sets; if that is wrong, "
                f"--param1 is too low for this model: see the cosines in the report or --histogram"
            )
        if len(set_people) < len(faces.identities):
            notes.append(
                f"{name}: {len(faces.identities)} runs of {len(set_people)} labels; each label is taken as one identity"
            )
    notes += _skipped_notes(output, rows, dry_run)
    identities = rows.identity_count()
    total = count_records(rows.image_count(), identities)
    properties = property.Property(identities, *sets[0].image_size)
    return MergeReport(rec_of(output, shard_count), not dry_run, table, total, properties, report, notes)


def _skipped_notes(output: str, rows: Rows, dry_run: bool) -> List[str]:
    """Return a line for each set that has payloads that are not images."""
    notes = []
    for name in rows.names:
        keys = [key for of, key, _, _ in rows.skipped if of == name]
        verb = "would be left out" if dry_run else f"left out, listed in {os.path.join(output, SKIPPED_NAME)}"
        notes += [f"{name}: {no_images(keys)}; {verb}"] if keys else []
    return notes
