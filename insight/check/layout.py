"""Selection of the image records of a set, and consistency of header, identity records, labels and property."""

from __future__ import annotations

import os
from typing import Optional, Tuple

import numpy as np

from ..errors import InsightError
from ..formats import identities, property
from ..formats.framing import LARGEST_LABEL
from ..images.header import image_size
from .payload_access import Payloads, ReadAtOffset
from .records import Records
from .rules import MAX_SAMPLES, Findings

INDEXED, PLAIN = "indexed", "plain"


class Layout:
    """The images of a set, by ascending key.

    Attributes
    ----------
    name : str
        ``indexed`` (with header and identity records) or ``plain`` (every record is an image).
    rows : np.ndarray
        (N,) int64. Rows of the images in :class:`Records`.
    keys, labels : np.ndarray
        (N,) int64. A label that is not an integer is stored as -1.
    """

    def __init__(self, records: Records, findings: Findings):
        self.records = records
        self._findings = findings
        rows = np.flatnonzero(records.keys >= 0)
        rows = rows[np.argsort(records.keys[rows], kind="stable")]
        keys = records.keys[rows]
        empty = (records.flags[rows] == 2) & (records.sizes[rows] == 0)
        has_header = bool(len(rows)) and keys[0] == 0 and bool(empty[0])
        marks = records.ranges()[rows]
        self.name = INDEXED if has_header or (not records.sound and marks.any()) else PLAIN
        if has_header and records.sound:
            is_image = self._split_indexed(rows, keys, empty)
        else:
            if marks.any() and records.sound:
                findings.add("header-missing", None, f"{int(marks.sum())} identity records, and no header at key 0")
            is_image = ~marks & ~(empty & (keys == 0))
        self.rows, self.keys = rows[is_image], keys[is_image]
        if not len(self.rows):
            findings.add("no-image", None, f"{len(records.offsets)} records, none of them an image")
        self.labels = self._read_labels()
        if "record-id" not in findings and (np.diff(self.rows) < 0).any():
            at = int(np.argmax(np.diff(self.rows) < 0))
            findings.add("record-order", int(self.keys[at + 1]), f"is before key {self.keys[at]} in the .rec")

    def payload(self, i: int) -> memoryview:
        return self.records.payload(int(self.rows[i]))

    def payloads(self) -> Payloads:
        """Return the payloads of the images for :func:`insight.check.image_faults.survey`."""
        offsets, rows, paths = self.records.offsets, self.rows, self.records.rec_paths
        read_at = ReadAtOffset(paths)
        return Payloads(len(rows), self.payload, read_at, lambda begin, end: offsets[rows[begin:end]].tolist(), paths)

    def first_size(self, most: Optional[int] = None) -> Optional[Tuple[int, int]]:
        """Return the first (height, width) found in the headers of the first ``most`` images; None if there is none."""
        sizes = (image_size(bytes(self.payload(i))) for i in range(len(self.rows))[:most])
        return next((size for size in sizes if size is not None), None)

    def _split_indexed(self, rows: np.ndarray, keys: np.ndarray, empty: np.ndarray) -> np.ndarray:
        """Check header and identity records; return a mask of the images, (R,) bool."""
        begin, end = float(self.records.first[rows[0]]), float(self.records.second[rows[0]])
        if not identities.is_header_range(begin, end):
            self._findings.add("header-range", 0, f"identities have keys {begin:g} to {end:g}")
            return ~empty
        begin, end = int(begin), int(end)
        if end >= identities.EXACT_FLOAT32:  # float32 may have rounded the range: use the keys of the empty records
            step = int(identities.float32_steps(np.array(begin)))
            near = keys[empty & (keys >= begin - step)]
            begin, end = (int(near[0]), int(near[-1]) + 1) if len(near) else (begin, end)
        is_image = (keys >= 1) & (keys < begin)
        is_mark = (keys >= begin) & (keys < end)
        stray = keys[keys >= end]
        add_all = self._findings.add_all
        add_all("stray-key", stray, lambda key: (key, f"the header's range ends at {end}"))
        for code, present, first, last in (("key-gap", is_image, 1, begin), ("identity-record", is_mark, begin, end)):
            if is_image.any():
                missing, count = _gaps(keys[present], first, last)
                add_all(code, missing, lambda key: (key, "has no record"), count)
        wrong = keys[is_mark & ~empty]
        add_all("identity-record", wrong, lambda key: (key, "is not an empty record with two numbers"))
        if is_image.any() and not self._findings.any_of("identity-record", "key-gap"):
            self._check_ranges(rows[is_image], keys[is_mark], rows[is_mark])
        return is_image

    def _check_ranges(self, image_rows, mark_keys, mark_rows) -> None:
        """Compare identity ranges with the runs of labels, both rounded to float32 as in the file."""
        runs = identities.runs(self.records.first[image_rows]) + 1  # keys count from 1
        want = runs.astype(np.float32)
        have = np.stack([self.records.first[mark_rows], self.records.second[mark_rows]], axis=1).astype(np.float32)
        if len(have) > len(want) and self._splits_runs(have, runs):
            return
        both = min(len(have), len(want))
        wrong = np.flatnonzero((have[:both] != want[:both]).any(axis=1))
        if not len(wrong) and len(have) != len(want):
            self._findings.add("identity-range", 0, f"{len(have)} identity records for {len(want)} runs of labels")
        self._findings.add_all(
            "identity-range",
            wrong,
            lambda i: (
                int(mark_keys[i]),
                f"keys {have[i][0]:.0f} to {have[i][1] - 1:.0f}; labels say {runs[i][0]} to {runs[i][1] - 1}",
            ),
        )

    @staticmethod
    def _splits_runs(have: np.ndarray, runs: np.ndarray) -> bool:
        """Whether the ranges only split runs, that is, adjacent identity records have the same label."""
        joined = (have[1:, 0] == have[:-1, 1]).all() and (have[:, 0] < have[:, 1]).all()
        covers = have[0, 0] == runs[0, 0] and have[-1, 1] == np.float32(runs[-1, 1])
        return bool(joined and covers and np.isin(runs[:, 0].astype(np.float32), have[:, 0]).all())

    def _read_labels(self) -> np.ndarray:
        values = self.records.first[self.rows]
        whole = (values == np.floor(values)) & (np.abs(values) <= LARGEST_LABEL)
        self._findings.add_all(
            "label-not-integer",
            np.flatnonzero(~whole),
            lambda i: (int(self.keys[i]), f"label {values[i]:g}", self.payload(i)),
        )
        return np.where(whole, values, -1).astype(np.int64)


def _gaps(keys: np.ndarray, begin: int, end: int) -> Tuple[np.ndarray, int]:
    """Return the first integers of [begin, end) that are missing in sorted distinct keys, and the number of all."""
    edges = np.concatenate([[begin - 1], keys, [end]])
    missing = [np.zeros(0, np.int64)]
    for at in np.flatnonzero(np.diff(edges) > 1)[:MAX_SAMPLES]:
        missing.append(np.arange(edges[at] + 1, min(edges[at + 1], edges[at] + 1 + MAX_SAMPLES)))
    return np.concatenate(missing)[:MAX_SAMPLES], end - begin - len(keys)


def check_labels(layout: Layout, findings: Findings) -> Tuple[Optional[property.Property], int]:
    """Check labels against ``property`` and for gaps, split identities and identities with one image.

    Returns
    -------
    properties : Property or None
        The content of ``property``; None if it is missing or unreadable.
    num_classes : int
        From ``property`` if there is one, otherwise the largest label + 1.
    """
    properties = _read_property(os.path.dirname(layout.records.rec_path) or ".", findings)
    labels, keys = layout.labels, layout.keys
    top = int(labels.max(initial=-1))
    num_classes = properties.num_classes if properties else top + 1

    def sample(i: int) -> tuple:
        return int(keys[i]), f"label {labels[i]}", layout.payload(i)

    whole = "label-not-integer" not in findings
    if whole:
        findings.add_all("label-negative", np.flatnonzero(labels < 0), sample)
    findings.add_all("label-out-of-range", np.flatnonzero(labels >= num_classes), sample)
    present = np.unique(labels[labels >= 0])
    if layout.records.sound and whole and len(present):
        below = present[present < num_classes]
        gaps, count = _gaps(below, 0, int(below.max(initial=-1)) + 1)
        findings.add_all("label-gap", gaps, lambda label: (None, f"label {label} has no image"), count)
        if top + 1 < num_classes:
            findings.add("property-classes", None, f"num_classes {num_classes}, and the largest label is {top}")
        _check_runs(layout, findings)
    if len(present) == 1:
        findings.add("one-identity", None, f"all images have label {present[0]}")
    return properties, num_classes


def _check_runs(layout: Layout, findings: Findings) -> None:
    runs = identities.runs(layout.labels)
    labels = layout.labels[runs[:, 0]]
    order = np.argsort(labels, kind="stable")
    repeated = order[1:][labels[order][1:] == labels[order][:-1]]
    findings.add_all(
        "split-identity",
        np.sort(repeated),
        lambda run: (
            int(layout.keys[runs[run, 0]]),
            f"label {labels[run]} begins again",
            layout.payload(int(runs[run, 0])),
        ),
    )
    present, counts = np.unique(layout.labels, return_counts=True)
    single = present[counts == 1]
    findings.add_all("single-images", single, lambda label: (None, f"label {label} has one image"))


def _read_property(folder: str, findings: Findings) -> Optional[property.Property]:
    path = os.path.join(folder, property.NAME)
    if not os.path.exists(path):
        findings.add("property-missing", None, f"{path} is missing")
        return None
    try:
        return property.read_property(folder)
    except InsightError as error:
        findings.add("property-unreadable", None, str(error))
        return None
