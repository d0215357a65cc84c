"""Random access to the records of a set by key: one .rec file, or several shards as one.

The layout is described in ``framing``; it is tested against ``mx.recordio`` in both directions. The writer is in
``recordwriter`` and re-exported here.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from typing import Iterator, List, NoReturn, Optional, Sequence, Tuple

import numpy as np

from ..errors import InsightError
from . import remedies, shards
from .framing import FRAME
from .idx import KeyTable, idx_blocks, idx_path_of, most_lines, refuse_repeated
from .keyruns import KeyRuns
from .recordcolumns import RecordColumns
from .recordmap import DamagedRecord, Headers, Record, RecordMap, RecordMaps
from .recordwriter import RecordWriter

__all__ = ["DamagedRecord", "Record", "RecordFile", "RecordWriter"]

_NARROW = 1 << 34  # bytes; in smaller files, offsets divided by 4 fit into 4 bytes
_GAP_BYTES = 1 << 17  # read ahead from the beginning of a record; most images are smaller
_BLOCK_ROWS = 1 << 18


class RecordFile:
    """The .rec and .idx files of a set, open for reading; 4 bytes per record, 8 in a .rec of 16 GiB or more.

    Parameters
    ----------
    rec_path : str
        A .rec, or any shard of a set; all shards of the set are opened.
    idx_path : str, optional
        The .idx of a single .rec. Default: the .idx beside each .rec. If there is none, the .rec is scanned once, and
        keys are derived from its records (see :meth:`~insight.formats.recordcolumns.Columns.own_keys`).

    Attributes
    ----------
    rec_path : str
        The .rec, or the first shard.
    rec_paths : list of str
    keys : KeyRuns
        (N,) int64, in the order of the .idx files.
    idx_path : str or None
        The .idx of ``rec_path``; None if there is no .idx.
    name, index_name : str
        Names for messages: of all .rec files, and of the files that the keys were read from.
    bytes : int
        Total size of the .rec files.

    Raises
    ------
    InsightError
        A file is missing, a .rec is not a RecordIO file, an .idx is invalid, belongs to another .rec
        or has a key twice, or two shards have the same key.
    """

    def __init__(self, rec_path: str, idx_path: Optional[str] = None):
        self.rec_paths = shards.members(rec_path) if idx_path is None else [os.fspath(rec_path)]
        self.rec_path = self.rec_paths[0]
        self.name = self.index_name = shards.pattern(self.rec_path) if len(self.rec_paths) > 1 else self.rec_path
        self.idx_path: Optional[str] = None
        self._maps = RecordMaps(self.rec_paths)
        try:
            idx_paths = [os.fspath(idx_path)] if idx_path is not None else [idx_path_of(p) for p in self.rec_paths]
            if idx_path is None and not any(map(os.path.exists, idx_paths)):
                self.keys, self._words = self._index_by_scanning()
            else:
                self.idx_path = idx_paths[0]
                self.index_name = idx_path_of(self.name) if len(idx_paths) > 1 else idx_paths[0]
                keys, self._words = zip(*map(_read_idx, idx_paths, self._maps.files))
                _refuse_shared_keys(keys, idx_paths)
                self.keys = KeyRuns.joined(keys)
            self._begins = [0, *np.cumsum([len(words) for words in self._words]).tolist()]
            self._rows = KeyTable(self.keys)
        except BaseException:
            self.close()
            raise

    @property
    def bytes(self) -> int:
        return self._maps.bytes

    def _index_by_scanning(self) -> Tuple[KeyRuns, List[np.ndarray]]:
        collected = RecordColumns()
        for offset, record in self._maps.scan():
            collected.add(offset, record)
        columns, bases = collected.columns(), self._maps.bases
        edges, words = np.searchsorted(columns.offsets, bases), []
        for base, begin, end, file in zip(bases, edges, edges[1:], self._maps.files):
            words.append(_room(end - begin, file))
            words[-1][:] = (columns.offsets[begin:end] - base) // 4
        return KeyRuns.of(columns.own_keys()), words

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: int) -> bool:
        return self._rows.find(key) >= 0

    def __iter__(self) -> Iterator[int]:
        return iter(self.keys)

    def read(self, key: int) -> Record:
        """The record of a key.

        Raises
        ------
        InsightError
            The key is not in the .idx, or its record is damaged.
        """
        row = self._rows.find(key)
        if row < 0:
            self._refuse(key)
        shard = bisect_right(self._begins, row, hi=len(self._words)) - 1
        return self._maps.files[shard].read_at(4 * int(self._words[shard][row - self._begins[shard]]), f"key {key}")

    def _refuse(self, key: int) -> NoReturn:
        raise InsightError(f"{self.index_name}: no key {key} among its {len(self.keys)} keys")

    def scan(self) -> Iterator[Tuple[int, Record]]:
        """Yield offset in the set and record, in the order of the files, without the .idx. Raises DamagedRecord."""
        return self._maps.scan()

    @property
    def offsets(self) -> np.ndarray:
        """(N,) int64 offset of each key's record in the .rec, or the concatenated shards; computed on each access."""
        return np.concatenate([np.zeros(0, np.int64), *self.offset_blocks()])

    def offset_blocks(self) -> Iterator[np.ndarray]:
        """:attr:`offsets` in parts."""
        for base, words in zip(self._maps.bases.tolist(), self._words):
            for begin in range(0, len(words), _BLOCK_ROWS):
                yield words[begin : begin + _BLOCK_ROWS].astype(np.int64) * 4 + base

    def headers(self, keys: np.ndarray) -> Headers:
        """Read flag, labels and payload size of many records at once, without their payloads.

        Parameters
        ----------
        keys : np.ndarray
            (N,) int64.

        Raises
        ------
        InsightError
            A key is unknown or its record is damaged.
        """
        keys = np.asarray(keys, np.int64)
        shard, offsets = self._places(keys)
        columns = Headers(*(np.empty(len(keys), t) for t in (np.int64, np.float64, np.float32, np.int64)))
        for number in np.unique(shard).tolist():
            own = np.flatnonzero(shard == number)
            for column, values in zip(columns, self._maps.files[number].headers(offsets[own], keys[own])):
                column[own] = values
        return columns

    def _places(self, keys: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Number of the shard of each key, and offset in that shard, (N,) int64 each. Raises InsightError."""
        rows = self._rows.find_all(keys)
        if (rows < 0).any():
            self._refuse(keys[rows < 0][0])
        shard = np.searchsorted(self._begins[1:], rows, side="right")
        offsets = np.empty(len(keys), np.int64)
        for number in np.unique(shard).tolist():
            own = shard == number
            offsets[own] = self._words[number][rows[own] - self._begins[number]]
        return shard, offsets * 4

    def read_ahead(self, keys: np.ndarray) -> Iterator[int]:
        """Read the records of keys (N,) int64 into the page cache, in the order of the .rec files.

        Yields
        ------
        int
            Number of bytes read, a few MiB each time.
        """
        shard, offsets = self._places(np.asarray(keys, np.int64))
        for number in np.unique(shard).tolist():
            begins = np.sort(offsets[shard == number])
            cuts = np.flatnonzero(np.diff(begins) > _GAP_BYTES) + 1
            for span in np.split(begins, cuts):
                yield from self._maps.files[number].read_ahead(int(span[0]), int(span[-1]) + _GAP_BYTES)

    def release_pages(self) -> None:
        """See :meth:`~insight.formats.recordmap.RecordMaps.release_pages`."""
        self._maps.release_pages()

    def close(self) -> None:
        """Release the files; memory maps stay open as long as payloads are in use."""
        self._maps.close()

    def __enter__(self) -> RecordFile:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def __reduce__(self):
        return RecordFile, (self.rec_path, None if len(self.rec_paths) > 1 else self.idx_path)

    def __repr__(self) -> str:
        return f"RecordFile({self.name!r}, {len(self)} records)"


def _read_idx(path: str, rec: RecordMap) -> Tuple[KeyRuns, np.ndarray]:
    """Keys of an .idx, and offsets divided by 4."""
    words, parts, end = _room(most_lines(path), rec), [], 0  # pages that are not written use no memory
    for keys, offsets in idx_blocks(path):
        _check_offsets(path, rec, keys, offsets)
        begin, end = end, end + len(keys)
        words[begin:end] = offsets // 4
        parts.append(KeyRuns.of(keys))
    words.resize(end, refcheck=False)
    keys = KeyRuns.joined(parts)
    refuse_repeated(keys, path)
    return keys, words


def _refuse_shared_keys(parts: Sequence[KeyRuns], idx_paths: Sequence[str]) -> None:
    """Raise InsightError if two shards have the same key."""
    key = KeyRuns.joined(parts).repeated()
    if key is not None:
        first, second = [path for path, keys in zip(idx_paths, parts) if key in keys][:2]
        raise InsightError(
            f"{second}: key {key} is also in {os.path.basename(first)}; these shards are not of one set, or one was "
            "copied under another's name; copy all files of the set again"
        )


def _room(count: int, rec: RecordMap) -> np.ndarray:
    return np.empty(count, np.uint32 if rec.size < _NARROW else np.int64)


def _check_offsets(idx_path: str, rec: RecordMap, keys: np.ndarray, offsets: np.ndarray) -> None:
    odd = int(np.bitwise_or.reduce(offsets)) & 3  # records begin at multiples of 4
    if odd or offsets.max(initial=0) > max(rec.size - FRAME.size, 0):
        row = int(np.argmax((offsets & 3 != 0) | (offsets > rec.size - FRAME.size)))
        raise InsightError(
            f"{rec.path}: key {keys[row]} should be at offset {offsets[row]}, and the file has {rec.size} bytes; "
            f"it was truncated, or {idx_path} belongs to another .rec; `{remedies.into_new(rec.path)}` "
            f"rebuilds the keys of the existing records"
        )
