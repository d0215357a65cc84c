"""The result of packing a list, as numbers and as text."""

from __future__ import annotations

import re
from collections import Counter
from typing import List, Optional, Tuple

from ..formats import property
from ..formats.framing import EXACT_FLOAT32
from ..formats.lst import IM2REC
from .prepare import RESIZED
from .setwriter import INDEXED

_SPARSE, _MANY = 2, 1000  # a note is printed if there are more classes than _SPARSE x labels with images, and _MANY
_FC7_BYTES = 512 * 3 * 4  # bytes per class in training: weights, gradient and momentum in float32


class PackReport:
    """The result of packing one list.

    (A plain class: importing ``dataclasses`` takes longer than packing a small set.)

    Attributes
    ----------
    images, identities, labels : int
        Numbers of images written, of runs of equal labels, and of distinct labels.
    verbatim : int
        Number of images that were copied unchanged.
    changes : Counter
        Changes made to the other images, with their counts.
    skipped, damaged : list of (str, int, str)
        (path, label, reason) of files that were skipped, and of damaged files that were packed.
    skipped_path, damaged_path : str or None
        The CSV files that list them.
    map_path : str or None
        The CSV file that maps new labels to the labels of the list.
    """

    def __init__(self, rec_path: str, property: property.Property, layout: str, dialect: str):
        self.rec_path = rec_path
        self.property = property
        self.layout = layout
        self.dialect = dialect
        self.images = self.identities = self.labels = self.verbatim = 0
        self.changes: Counter = Counter()
        self.skipped: List[Tuple[str, int, str]] = []
        self.damaged: List[Tuple[str, int, str]] = []
        self.skipped_path: Optional[str] = None
        self.damaged_path: Optional[str] = None
        self.map_path: Optional[str] = None

    def lines(self) -> List[str]:
        """Return the report as lines of text."""
        records = f"{self.images} images"
        if self.layout == INDEXED:
            total = self.images + self.identities + 1
            records += f" + {self.identities} identity records + 1 header = {total} records"
        lines = [f"{self.rec_path}: {records}; property {self.property.text()}"]
        converted = self.images - self.verbatim
        if converted:
            lines.append(f"  {self.verbatim} images verbatim, {converted} converted ({_counts(self.changes)})")
        if self.skipped:
            kinds = _counts(_kinds(self.skipped))
            lines.append(f"  {len(self.skipped)} files skipped ({kinds}); see {self.skipped_path}")
        if self.damaged:
            kinds = _counts(_kinds(self.damaged))
            lines.append(
                f"  warning: {len(self.damaged)} damaged images packed unchanged ({kinds}); see {self.damaged_path}"
            )
        if self.map_path:
            lines.append(f"  labels were renumbered; {self.map_path} maps each to the label in the list")
        return lines + [f"  note: {note}" for note in self._notes()]

    def _notes(self) -> List[str]:
        notes = []
        if self.dialect == IM2REC:
            notes.append("the list has im2rec's columns (index, label, path); its images were taken as aligned")
        resized = sum(n for change, n in self.changes.items() if change.startswith(RESIZED))
        if 2 * resized > self.images:
            notes.append(
                "most images were resized; networks expect aligned faces: align them with align-faces, or pack a "
                "list with landmarks (docs/align.md)"
            )
        if self.identities > self.labels:
            notes.append(
                f"{self.labels} labels occur in {self.identities} separate runs, and each run counts as an identity; "
                f"sort the list by label"
            )
        classes = self.property.num_classes
        if classes > max(_SPARSE * self.labels, _MANY):
            notes.append(
                f"{self.labels} of {classes} labels have images: fc7 would have {classes} classes, "
                f"{classes * _FC7_BYTES / 1e9:.1f} GB with train-softmax --emb-size 512; --renumber-labels "
                f"numbers labels 0, 1, 2, .."
            )
        elif self.labels < classes:
            notes.append(f"{classes - self.labels} of {classes} labels have no image")
        if classes - 1 > EXACT_FLOAT32:
            notes.append(
                f"labels above {EXACT_FLOAT32} are exact for insight; other readers of records see them as float32, "
                "rounded"
            )
        if classes < 2:
            notes.append("one identity can be merged or embedded; training needs two or more")
        return notes


def _kinds(rows: List[Tuple[str, int, str]]) -> Counter:
    """Count the reasons; numbers in messages of the JPEG decoder are replaced by N."""
    reasons = (reason for _, _, reason in rows)
    return Counter(re.sub(r"0x\w+|\d+", "N", r) if r.startswith("Corrupt JPEG") else r for r in reasons)


def _counts(counter: Counter, most: int = 6) -> str:
    shown = [f"{n} {what}" for what, n in counter.most_common(most)]
    rest = len(counter) - most
    return ", ".join(shown) + (f", and {rest} other kinds" if rest > 0 else "")
