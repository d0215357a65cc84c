"""Ranges of images per identity, from identity records and from labels."""

from __future__ import annotations

from typing import Optional

import numpy as np

from .framing import EXACT_FLOAT32
from .keyruns import KeyRuns
from .recordio import RecordFile

_BLOCK_EDGES = 1 << 16  # edges whose neighbours are read at a time
LARGEST_EDGE = 1 << 53  # of a range of keys: float64 is exact up to here


def float32_steps(values: np.ndarray) -> np.ndarray:
    """Spacing of float32 numbers at integer values, int64: at most 1 below 2^24, then 2, 4, .."""
    return np.spacing(np.asarray(values, np.float32)).astype(np.int64)


def is_header_range(begin: float, end: float) -> bool:
    """Whether the two numbers of a header record can be the range ``[begin, end)`` of keys of identity records."""
    return 1 < begin <= end <= LARGEST_EDGE


def read_ranges(records: RecordFile, id_keys: KeyRuns) -> Optional[np.ndarray]:
    """Ranges of keys ``[first, last + 1)`` from identity records, (K, 2) int64; None if a record has no valid range.

    Above 2^24, float32 rounds both ends of a range (only the last one in sets of this package), so that the range of
    one image may be empty.
    """
    ranges = np.empty((len(id_keys), 2), np.int64)
    row = 0
    for keys in id_keys.blocks():
        flags, first, second, _ = records.headers(keys)
        rises = first.astype(np.float32) <= second
        if not ((flags == 2) & (first >= 1) & rises & (second <= LARGEST_EDGE)).all():
            return None
        ranges[row : row + len(keys), 0], ranges[row : row + len(keys), 1] = first, second
        row += len(keys)
    return ranges


def runs(labels: np.ndarray) -> np.ndarray:
    """(R, 2) int64 ``[begin, end)`` of the runs of equal values."""
    cuts = np.flatnonzero(labels[1:] != labels[:-1]) + 1
    edges = np.concatenate([[0], cuts, [len(labels)]]).astype(np.int64)
    return np.stack([edges[:-1], edges[1:]], axis=1) if len(labels) else np.zeros((0, 2), np.int64)


def exact_ranges(ranges: np.ndarray, end: int, labels_of) -> np.ndarray:
    """Correct identity ranges whose edges float32 has rounded, by the images' labels.

    Each identity's range begins where the previous one ends, and the label changes there, so
    only the labels near each rounded edge are read.

    Parameters
    ----------
    ranges : np.ndarray
        (K, 2) int64 ``[first, last + 1)`` as read, ascending.
    end : int
        The key after the last image.
    labels_of : callable
        Keys (M,) int64 -> labels (M,).

    Returns
    -------
    np.ndarray
        (C, 2) int64; one row per change of label. C is K in a set without errors.
    """
    edges = ranges[1:, 0]
    known = edges[edges < EXACT_FLOAT32]
    rounded = edges[edges >= EXACT_FLOAT32]
    blocks = np.split(rounded, range(_BLOCK_EDGES, len(rounded), _BLOCK_EDGES))
    changes = [_changes(block, int(ranges[0, 0]), end, labels_of) for block in blocks]
    begins = np.unique(np.concatenate([ranges[:1, 0], known, *changes]))
    return np.stack([begins, np.append(begins[1:], end)], axis=1)


def _changes(rounded: np.ndarray, begin: int, end: int, labels_of) -> np.ndarray:
    """Keys near rounded edges, between ``begin`` and ``end``, at which the label changes."""
    reach = float32_steps(rounded)
    widest = int(reach.max(initial=1))
    near = rounded[:, None] + np.arange(-widest, widest + 1)
    near = np.unique(near[np.abs(near - rounded[:, None]) <= reach[:, None]])
    near = near[(near > begin) & (near < end)]
    changes = near[labels_of(near) != labels_of(near - 1)]
    return changes[changes >= EXACT_FLOAT32 - 1]
