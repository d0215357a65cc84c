"""Diagnosis of a set and selection of its usable images, the first half of dataset-repair.

:class:`Records` scans the .rec, and :class:`Layout` checks its header and identity records. From both, this module
derives the correct keys, whether the .rec can be kept, and the images of a new one.
"""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from ..check.layout import INDEXED, PLAIN, Layout
from ..check.records import Records
from ..check.rules import Findings
from ..errors import InsightError
from ..formats.framing import LARGEST_LABEL
from ..formats.idx import idx_path_of
from .sizes import Pictures, Size, by

FITS, PARTIAL, WRONG, MISSING = "fits", "partial", "wrong", "missing"
_WRONG = ("idx-unreadable", "idx-duplicate-key", "idx-foreign", "idx-offset", "idx-shared-offset")
_MARKS = ("header-missing", "header-range", "identity-record", "identity-range", "key-gap", "stray-key")


class Diagnosis(NamedTuple):
    """The state of a .rec and its .idx.

    Attributes
    ----------
    index : str
        ``fits``; ``partial``, correct but without keys for some records; ``wrong``; or ``missing``.
    why : str
        The fault of the .idx; "" if it fits.
    keys : np.ndarray
        (M,) int64. The key of each record, from the .idx if that can be kept, otherwise derived from the .rec; -1 for
        records that a partial .idx does not list.
    original_keys : bool
        Whether ``keys`` are equivalent to the set's original keys.
    layout : Layout
        The images by these keys.
    faults : list of str
        Faults that only a new .rec can repair: damage, and wrong header and identity records.
    """

    index: str
    why: str
    keys: np.ndarray
    original_keys: bool
    layout: Layout
    faults: List[str]


def diagnose(records: Records, findings: Findings, complete: bool = False) -> Diagnosis:
    """Diagnose a set from its records and its .idx.

    Parameters
    ----------
    records : Records
    findings : Findings
        Faults that were reported while the records were read.
    complete : bool
        Whether an .idx that does not list all records counts as wrong.

    Raises
    ------
    InsightError
        The .rec holds no intact record.
    """
    if not len(records.offsets):
        what = findings.first("not-recordio", "truncated-tail", "damaged-record")[0]
        raise InsightError(f"{records.rec_path}: holds no record that can be read ({what}); give the .rec of a set")
    index, why = _judge_index(records, findings)
    unaligned = (records.keys < 0) & records.unaligned()  # an .idx cannot list these
    if index == PARTIAL and (complete or unaligned.any()):
        index = WRONG
    kept = index in (FITS, PARTIAL) or _names_all(records, findings)
    keys = records.keys if kept else records.own_keys()
    layout, marks = _lay_out(records, keys)
    if index in (FITS, PARTIAL) and marks and not records.damage:
        other, own_marks = _lay_out(records, records.own_keys())
        if not own_marks:  # keys derived from the .rec fit, so the .idx belongs to another set
            index, why = WRONG, f"its keys do not fit the records: {marks[0]}"
            kept, keys, layout, marks = False, other.records.keys, other, own_marks
    faults = [f"offset {records.place(d.offset)}: {d.reason}" for d in records.damage]
    if marks or records.damage:
        layout = Layout(records.with_keys(keys, sound=False), Findings())
    return Diagnosis(index, why, keys, kept or records.has_original_keys(), layout, faults + marks)


def _judge_index(records: Records, findings: Findings) -> Tuple[str, str]:
    if records.index is None and "idx-missing" in findings:
        return MISSING, "it was missing"
    wrong = findings.first(*_WRONG)
    if wrong:
        return WRONG, without_path(wrong[0], idx_path_of(records.rec_path))
    stray = ~np.isin(records.index[1], records.offsets)
    if stray.any():
        return WRONG, f"{int(stray.sum())} of its {len(stray)} keys do not name an intact record"
    unnamed = int((records.keys < 0).sum())
    return (PARTIAL, f"it lists {len(stray)} of {len(records.keys)} records") if unnamed else (FITS, "")


def _names_all(records: Records, findings: Findings) -> bool:
    """Whether an .idx lists all intact records; it may have further keys."""
    return records.index is not None and not findings.any_of(*_WRONG) and bool((records.keys >= 0).all())


def _lay_out(records: Records, keys: np.ndarray) -> Tuple[Layout, List[str]]:
    """Return the layout by the given keys, and the faults of its header and identity records."""
    findings = Findings()
    layout = Layout(records.with_keys(keys, sound=True), findings)
    return layout, [f"{code}: {detail}" for code in _MARKS for detail in findings.first(code)]


def without_path(message: str, path: str) -> str:
    """Return a message about a file without the file's name before it and the remedy after it."""
    message = message.partition("; ")[0]
    if not message.startswith(path):
        return message
    rest = message[len(path) :]
    return "line " + rest[1:] if rest[1:2].isdigit() else rest.lstrip(": ")


def float_labels(layout: Layout) -> np.ndarray:
    """Return the labels of the images as the records have them, (N,) float64."""
    return layout.records.first[layout.rows]


def whole_labels(labels: np.ndarray) -> np.ndarray:
    """Return a mask of the labels that are non-negative integers of any size, (N,) bool."""
    return np.isfinite(labels) & (labels == np.floor(labels)) & (labels >= 0)


def usable_labels(labels: np.ndarray) -> np.ndarray:
    """Return a mask of the labels that readers of sets accept, (N,) bool."""
    return whole_labels(labels) & (labels <= LARGEST_LABEL)


class Selection(NamedTuple):
    """The images of a new set, in its order, and the reasons for which the others are skipped.

    Attributes
    ----------
    at : np.ndarray
        (N,) int64. Positions of the images in the layout.
    labels : np.ndarray
        (N,) int64. New labels of the images.
    old : np.ndarray or None
        (C,) float64. Old label of each new label; None if labels are kept.
    size : (int, int)
        (height, width) of all images in pixels.
    left_out : dict of int to str
        Reason for each skipped image, by its position in the layout.
    """

    at: np.ndarray
    labels: np.ndarray
    old: Optional[np.ndarray]
    size: Size
    left_out: Dict[int, str]

    @property
    def num_classes(self) -> int:
        return int(self.labels.max()) + 1


def select(
    layout: Layout, seen: Pictures, size: Optional[Size] = None, keep_labels: bool = False, group: bool = False
) -> Selection:
    """Select the images that can be trained on together, and number their labels.

    Parameters
    ----------
    layout : Layout
    seen : Pictures
    size : (int, int), optional
        (height, width) of the images to keep; default: the most frequent size.
    keep_labels : bool
        Do not renumber labels, even if they have gaps.
    group : bool
        Sort the images by label, so that the images of each label are contiguous.

    Raises
    ------
    InsightError
        No image is usable, no size is that of at least half of the images, or a label is too large to be kept.
    """
    rec_path = layout.records.rec_path
    left_out = dict(seen.faults)
    labels = float_labels(layout)
    for i in np.flatnonzero(~whole_labels(labels)).tolist():
        code = "label-negative" if labels[i] < 0 else "label-not-integer"
        left_out.setdefault(i, f"{code}: label {labels[i]:.10g}")
    chosen = _one_size(rec_path, seen, size)
    for i in seen.others(chosen).tolist() if chosen else ():
        left_out.setdefault(i, f"image-size: {by(seen.size_of(i))}, the set has {by(chosen)}")
    keep = np.ones(len(labels), bool)
    keep[list(left_out)] = False
    at = np.flatnonzero(keep)
    if not len(at) or chosen is None:
        why = f"; the first, key {layout.keys[min(left_out)]}: {left_out[min(left_out)]}" if left_out else ""
        raise InsightError(f"{rec_path}: none of its {len(labels)} images can be used{why}")
    if group:
        at = at[np.argsort(labels[at], kind="stable")]
    old, new = np.unique(labels[at], return_inverse=True)
    if keep_labels and old[-1] > LARGEST_LABEL:
        raise InsightError(f"--keep-labels: {rec_path} has label {old[-1]:.0f}, want labels below 2^31; omit it")
    if keep_labels or old[-1] == len(old) - 1:
        return Selection(at, labels[at].astype(np.int64), None, chosen, left_out)
    return Selection(at, new.astype(np.int64), old, chosen, left_out)


def _one_size(rec_path: str, seen: Pictures, size: Optional[Size]) -> Optional[Size]:
    chosen = size or seen.commonest()
    if size is None and chosen is not None and 2 * len(seen.others(chosen)) > seen.known():
        raise InsightError(
            f"{rec_path}: its images have different sizes (height x width: {seen.listed()}), and a set has one; give "
            f"the one to keep with --image-size, or scale them: rec2image, dir2lst, face2rec --image-size"
        )
    return chosen


def layout_name(diagnosis: Diagnosis) -> str:
    """Return the layout of the new set, that of the old one even if its header and identity records were lost.

    face2rec writes image labels [identity, aligned] and keys from 1; im2rec writes keys from 0. A damaged set whose
    keys begin with 1 therefore had header and identity records.
    """
    records, rows = diagnosis.layout.records, diagnosis.layout.rows
    if diagnosis.layout.name == INDEXED or records.ranges().any():
        return INDEXED
    if not len(rows) or diagnosis.layout.keys[0] != 1:
        return PLAIN
    second = records.second[rows]
    aligned = (records.flags[rows] == 2) & ((second == 0) | (second == 1))
    return INDEXED if records.damage or aligned.all() else PLAIN
