"""Keys of records as runs of consecutive integers. A set in order has two or three runs, whatever its size."""

from __future__ import annotations

from bisect import bisect_right
from typing import Iterator, List, Optional, Sequence, Union

import numpy as np

_BLOCK_ROWS = 1 << 17
_FEW_RUNS = 1 << 12


class KeyRuns:
    """Integers that are indexed like a one-dimensional array, stored as runs; 16 bytes per run.

    Parameters
    ----------
    starts : np.ndarray
        (R,) int64: first integer of each run.
    lengths : np.ndarray
        (R,) int64, at least 1.

    Attributes
    ----------
    starts : np.ndarray
    begins : np.ndarray
        (R + 1,) int64: row at which each run begins; the last is the number of rows.
    dtype : np.dtype
        Dtype of the elements: int64.
    """

    dtype = np.dtype(np.int64)

    def __init__(self, starts: np.ndarray, lengths: np.ndarray):
        self.starts = np.asarray(starts, np.int64)
        self.begins = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        self._search = self.begins.tolist() if len(self.starts) <= _FEW_RUNS else self.begins

    @classmethod
    def of(cls, keys: np.ndarray) -> KeyRuns:
        """Make runs from an array (N,) of integers; their order is kept."""
        rows = np.concatenate([[0], _breaks(keys)]).astype(np.int64) if len(keys) else np.zeros(0, np.int64)
        return cls(keys[rows], np.diff(rows, append=len(keys)))

    @classmethod
    def joined(cls, parts: Sequence[KeyRuns]) -> KeyRuns:
        """Concatenate parts; a run that continues from one part to the next becomes one run."""
        starts = np.concatenate([np.zeros(0, np.int64), *(part.starts for part in parts)])
        lengths = np.concatenate([np.zeros(0, np.int64), *(part.lengths for part in parts)])
        if not len(starts):
            return cls(starts, lengths)
        first = np.flatnonzero(np.concatenate([[True], starts[1:] != starts[:-1] + lengths[:-1]]))
        return cls(starts[first], np.add.reduceat(lengths, first))

    @property
    def lengths(self) -> np.ndarray:
        """Lengths of the runs, (R,) int64."""
        return np.diff(self.begins)

    def ascending(self) -> KeyRuns:
        """The same integers in ascending order; they must be distinct."""
        order = np.argsort(self.starts, kind="stable")
        return KeyRuns.joined([KeyRuns(self.starts[order], self.lengths[order])])

    def between(self, low: int, high: int) -> KeyRuns:
        """The integers from ``low`` to ``high - 1``; the integers must be ascending."""
        starts = np.maximum(self.starts, low)
        ends = np.minimum(self.starts + self.lengths, high)
        inside = starts < ends
        return KeyRuns(starts[inside], (ends - starts)[inside])

    def position(self, keys: np.ndarray) -> np.ndarray:
        """Number of integers below each key, int64 of the shape of ``keys``; the integers must be ascending."""
        run = np.searchsorted(self.starts, keys, side="right") - 1
        if not len(self.starts):
            return np.zeros(np.shape(keys), np.int64)
        inside = np.minimum(keys - self.starts[run], self.lengths[run])
        return np.where(run < 0, 0, self.begins[run] + inside)

    def repeated(self) -> Optional[int]:
        """An integer that occurs more than once; None if all are distinct."""
        order = np.argsort(self.starts, kind="stable")
        starts, ends = self.starts[order], (self.starts + self.lengths)[order]
        rows = np.flatnonzero(starts[1:] < ends[:-1])
        return int(starts[rows[0] + 1]) if len(rows) else None

    def __contains__(self, key: int) -> bool:
        return bool(((self.starts <= key) & (key < self.starts + self.lengths)).any())

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield all integers in order, as arrays that fit into a processor's cache."""
        for begin in range(0, len(self), _BLOCK_ROWS):
            yield self[begin : begin + _BLOCK_ROWS]

    def tolist(self) -> List[int]:
        return np.asarray(self).tolist()

    def __len__(self) -> int:
        return int(self.begins[-1])

    def __iter__(self) -> Iterator[int]:
        for block in self.blocks():
            yield from block.tolist()

    def __getitem__(self, at) -> Union[np.int64, np.ndarray]:
        if isinstance(at, (int, np.integer)):
            row = int(at) + len(self) * (at < 0)
            if not 0 <= row < len(self):
                raise IndexError(f"row {at} of {len(self)}")
            run = bisect_right(self._search, row) - 1
            return self.starts[run] + (row - self.begins[run])
        if isinstance(at, slice):
            rows = np.arange(*at.indices(len(self)))
        else:
            rows = np.arange(len(self))[at] if np.asarray(at).dtype == bool else np.asarray(at, np.int64)
            rows = rows + len(self) * (rows < 0)
            if rows.size and not 0 <= rows.min() <= rows.max() < len(self):
                raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)}")
        run = np.searchsorted(self.begins, rows, side="right") - 1
        return self.starts[run] + (rows - self.begins[run])

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        out = np.repeat(self.starts - self.begins[:-1], self.lengths)
        out += np.arange(len(out))
        return out if dtype is None else out.astype(dtype, copy=False)

    def __repr__(self) -> str:
        return f"KeyRuns({len(self)} keys in {len(self.starts)} runs)"


def _breaks(keys: np.ndarray) -> np.ndarray:
    """Rows whose key is not the previous key plus 1, computed in blocks to keep temporaries small."""
    rows = [np.zeros(0, np.int64)]
    for begin in range(1, len(keys), _BLOCK_ROWS):
        part = keys[begin - 1 : begin + _BLOCK_ROWS]
        rows.append(np.flatnonzero(part[1:] != part[:-1] + 1) + begin)
    return np.concatenate(rows)
