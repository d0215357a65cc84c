"""Headers of all records as columns, collected in one pass over a .rec, and keys derived from them without an .idx."""

from __future__ import annotations

from array import array
from typing import NamedTuple

import numpy as np

from .framing import EXACT_FLOAT32

LARGEST_KEY = 10**18  # keys of an .idx have 18 digits at most
_NO_LABEL = float("nan")


class Columns(NamedTuple):
    """Headers of M records, in the order of the file.

    Attributes
    ----------
    offsets, flags, sizes : np.ndarray
        (M,) int64: byte offset of the record, flag of its header, bytes of its payload.
    first : np.ndarray
        (M,) float64: :attr:`~insight.formats.recordmap.Record.first`.
    second : np.ndarray
        (M,) float32: the second number of a vector label; NaN if there is none.
    ids : np.ndarray
        (M,) uint64: ``id`` of the header, the record's own number.
    """

    offsets: np.ndarray
    flags: np.ndarray
    sizes: np.ndarray
    first: np.ndarray
    second: np.ndarray
    ids: np.ndarray

    def ranges(self) -> np.ndarray:
        """(M,) bool: empty records that hold a range of keys, as header and identity records do.

        The second number of a range exceeds the first, unlike in an image label ``[identity, aligned]`` with
        identity >= 1. Above 2^24, float32 may have rounded both ends of a range to the same number.
        """
        first = self.first.astype(np.float32)
        empty = (self.flags == 2) & (self.sizes == 0) & np.isfinite(self.second)
        rises = (self.second > first) | ((self.second == first) & (first >= EXACT_FLOAT32))
        return empty & (first >= 1) & rises

    def own_keys(self) -> np.ndarray:
        """(M,) int64 keys for a .rec without .idx.

        The records' own numbers, if they are distinct. Otherwise, if exactly one record can be the header of
        all identity records: 0 for the header, 1..N for images and N+1.. for identity records, in the order of
        the file. Otherwise 0, 1, 2, ..
        """
        if self._numbers_differ():
            return self.ids.astype(np.int64)
        marks = self.ranges()
        header = self._headers(marks)
        if len(header) != 1:
            return np.arange(len(self.ids))
        keys = np.zeros(len(self.ids), np.int64)
        images = int((~marks).sum())
        keys[~marks] = np.arange(1, images + 1)
        marks[header] = False
        keys[marks] = np.arange(images + 1, len(keys))
        return keys

    def has_original_keys(self) -> bool:
        """Whether :meth:`own_keys` are equivalent to the writer's keys.

        If every record is an image, any distinct keys are equivalent.
        """
        marks = self.ranges()
        return not marks.any() or self._numbers_differ() or len(self._headers(marks)) == 1

    def _numbers_differ(self) -> bool:
        return bool(self.ids.max(initial=0) < LARGEST_KEY) and len(np.unique(self.ids)) == len(self.ids)

    def _headers(self, marks: np.ndarray) -> np.ndarray:
        """Rows of the records among ``marks`` that can be the header of all others."""
        begin = int((~marks).sum()) + 1  # key of the first identity record
        ends = np.array([begin, begin + marks.sum() - 1], np.float32)
        return np.flatnonzero(marks & (self.first.astype(np.float32) == ends[0]) & (self.second == ends[1]))


class RecordColumns:
    """Collects :class:`Columns`; 44 bytes per record."""

    def __init__(self) -> None:
        self._arrays = [array(code) for code in "qqqdfQ"]

    def add(self, offset: int, record) -> None:
        """Append one :class:`~insight.formats.recordio.Record`."""
        offsets, flags, sizes, first, second, ids = self._arrays
        offsets.append(offset)
        flags.append(record.flag)
        sizes.append(len(record.payload))
        first.append(record.first)
        second.append(record.label[1] if record.flag > 1 else _NO_LABEL)
        ids.append(record.id)

    def __len__(self) -> int:
        return len(self._arrays[0])

    def columns(self) -> Columns:
        """The collected columns; no record can be added after this call."""
        return Columns(*(np.frombuffer(a, a.typecode) if a else np.zeros(0, a.typecode) for a in self._arrays))
