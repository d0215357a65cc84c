"""The identities of the sets to merge, numbered consecutively, and the decision on each."""

from __future__ import annotations

import csv
from typing import IO, Iterator, List, NamedTuple, Optional, Sequence, Tuple

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
    """Excluded directions, (X, E) float32; ``name(row)`` returns the source of one, and its image or label there."""

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
    """The identities of all sets, numbered consecutively as in :class:`Decisions`.

    Attributes
    ----------
    unusable : numpy.ndarray
        (K,) int64. Number of payloads of each identity that are not images, among those read so far.
    skipped : list of (str, int, int, str)
        (set, key, label, reason) of these payloads.
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
        """Return the position of an identity's set, and the identity's number in it."""
        which = int(np.searchsorted(self.begins, row, side="right")) - 1
        return which, row - int(self.begins[which])

    def write(self, out: IO) -> None:
        """Write a CSV with a row per identity, in the order of the sets. Cells are empty without a comparison."""
        table = csv.writer(out, lineterminator="\n")
        table.writerow(COLUMNS)
        d, verdicts, counts = self.decisions, self.decisions.names(), self._counts()
        for row, verdict in enumerate(verdicts):
            which, identity = self.locate(row)
            people = self.people[which]
            count = int(counts[row])
            label, new_label = int(people.labels[identity]), int(d.new_label[row])
            cells = [self.names[which], label, count, verdict, new_label if new_label >= 0 else ""]
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

    def members(self) -> Iterator[np.ndarray]:
        """Yield the identities that form each new label, in ascending order."""
        kept = np.flatnonzero(self.decisions.new_label >= 0)
        labels = self.decisions.new_label[kept]
        by_label = kept[np.argsort(labels, kind="stable")]
        begin = 0
        for count in np.bincount(labels):
            yield by_label[begin : begin + count]
            begin += count

    def identity_count(self) -> int:
        """Return the number of new labels."""
        return int(self.decisions.new_label.max(initial=-1)) + 1

    def _counts(self) -> np.ndarray:
        return np.concatenate([p.counts() for p in self.people])

    def image_count(self) -> int:
        counts = self._counts() - self.unusable
        return int(counts[self.decisions.new_label >= 0].sum())

    def payloads(self, sets: Sequence[FaceSet], row: int) -> List[memoryview]:
        """Return the encoded images of an identity; payloads that are not images are skipped, counted and listed."""
        which, identity = self.locate(row)
        faces, images = sets[which], []
        for i in self.people[which].images(identity).tolist():
            payload = faces.payload(i)
            reason = why_unusable(payload)
            if reason:
                self.unusable[row] += 1
                self.skipped.append((self.names[which], int(faces.images[i]), int(faces.labels[i]), reason))
            else:
                images.append(payload)
        return images

    def drop(self, rows: List[int]) -> None:
        """Drop identities without a remaining image, and close the gaps in the new labels."""
        label = self.decisions.new_label
        removed = np.unique(label[rows])
        self.decisions.eligible[rows], label[rows] = False, -1
        kept = label >= 0
        label[kept] -= np.searchsorted(removed, label[kept])

    def write_skipped(self, out: IO) -> None:
        """Write a CSV with a row per skipped payload."""
        table = csv.writer(out, lineterminator="\n")
        table.writerow(SKIPPED_COLUMNS)
        table.writerows(self.skipped)
