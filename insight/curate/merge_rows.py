"""The identities of sets that are merged, under one number, and what became of each."""

from __future__ import annotations

import csv
from typing import IO, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..formats.faceset import FaceSet
from ..sets.payloads import why_unusable
from .centres import People
from .overlap import Decisions

COLUMNS = (
    *("set", "label", "images", "decision", "new_label"),
    *("nearest_set", "nearest_label", "cosine"),
    *("excluded_by", "excluded_item", "excluded_cosine"),
)
SKIPPED_COLUMNS = ("set", "key", "label", "reason")


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


class Rows:
    """Identities of all sets under one number, as :class:`Decisions` has them.

    Attributes
    ----------
    unusable : numpy.ndarray
        (K,) int64: images of each identity that are no images by their bytes, as far as they were read.
    skipped : list of tuple
        Their set, key, label and reason.
    """

    def __init__(self, names: List[str], people: List[People], decisions: Decisions, excluded: Optional[Excluded]):
        self.names = names
        self.people = people
        self.decisions = decisions
        self.excluded = excluded
        self.begins = np.cumsum([0, *(len(p) for p in people)])
        self.unusable = np.zeros(int(self.begins[-1]), np.int64)
        self.skipped: List[Tuple[str, int, int, str]] = []

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
        counts = np.concatenate([p.counts() for p in self.people]) - self.unusable
        return int(counts[self.decisions.new_label >= 0].sum())

    def payloads(self, sets: Sequence[FaceSet], row: int) -> List[memoryview]:
        """Encoded images of an identity; what is no image is counted, listed and left out."""
        which, identity = self.locate(row)
        faces, found = sets[which], []
        for i in self.people[which].images(identity).tolist():
            payload = faces.payload(i)
            reason = why_unusable(payload)
            if reason:
                self.unusable[row] += 1
                self.skipped.append((self.names[which], int(faces.images[i]), int(faces.labels[i]), reason))
            else:
                found.append(payload)
        return found

    def drop(self, rows: List[int]) -> None:
        """Take identities of which no image is left out of the decisions, and close the gaps among new labels."""
        label = self.decisions.new_label
        gone = np.unique(label[rows])
        self.decisions.stands[rows], label[rows] = False, -1
        kept = label >= 0
        label[kept] -= np.searchsorted(gone, label[kept])

    def write_skipped(self, out: IO) -> None:
        """A row per image that was left out."""
        table = csv.writer(out, lineterminator="\n")
        table.writerow(SKIPPED_COLUMNS)
        table.writerows(self.skipped)
