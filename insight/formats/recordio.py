"""Random access to .rec files by memory map. The writer is in ``recordwriter`` and re-exported here.

Payloads are views of the map: nothing is copied and no file position is shared, so one
reader serves any number of threads, and forked workers inherit it.

Source of the layout: ``framing``. Checked against ``mx.recordio`` in both directions.
"""

from __future__ import annotations

import mmap
import os
from typing import Iterator, List, NamedTuple, Optional, Tuple, Union

import numpy as np

from ..errors import InsightError
from . import remedies
from .framing import FIRST, FRAME, HEADER, LAST, LENGTH_BITS, LENGTH_MASK, MAGIC, MAGIC_BYTES, MIDDLE, WHOLE
from .idx import KeyTable, idx_path_of, read_idx
from .recordcolumns import RecordColumns
from .recordwriter import RecordWriter

__all__ = ["DamagedRecord", "Record", "RecordFile", "RecordWriter"]


class DamagedRecord(InsightError):
    """No complete record begins at an offset. ``reason`` is the cause, without file and remedy."""

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason


class Record(NamedTuple):
    """One image record, as ``mx.recordio.unpack`` splits it."""

    flag: int
    label: Union[float, np.ndarray]  # (flag,) float32 where flag > 0
    id: int
    id2: int
    payload: memoryview


class RecordFile:
    """A .rec file and its .idx, open for reading.

    Parameters
    ----------
    rec_path : str
    idx_path : str, optional
        Default: the .idx beside the .rec. If that is missing, the .rec is scanned once, and
        keys are derived from the records (see :meth:`~insight.formats.recordcolumns.Columns.own_keys`).

    Attributes
    ----------
    keys : np.ndarray
        (N,) int64, in the order of the .idx.
    offsets : np.ndarray
        (N,) int64: byte offset of each key's record in the .rec.
    idx_path : str or None
        None if there is no .idx.

    Raises
    ------
    InsightError
        A file is missing, the .rec is not a RecordIO file, or the .idx belongs to another .rec,
        is truncated, or has a key twice.
    """

    def __init__(self, rec_path: str, idx_path: Optional[str] = None):
        self.rec_path = os.fspath(rec_path)
        self.idx_path: Optional[str] = os.fspath(idx_path) if idx_path is not None else idx_path_of(self.rec_path)
        self._map, self._view = _map_file(self.rec_path)
        try:
            self._check_magic()
            if idx_path is None and not os.path.exists(self.idx_path):
                self.idx_path = None
                self.keys, self.offsets = self._index_by_scanning()
            else:
                self.keys, self.offsets = read_idx(self.idx_path)
                self._check_offsets()
            self._rows = KeyTable(self.keys, self.index_name)
        except BaseException:
            self.close()
            raise

    @property
    def index_name(self) -> str:
        """The file that keys come from, for messages."""
        return self.idx_path or self.rec_path

    def _index_by_scanning(self) -> Tuple[np.ndarray, np.ndarray]:
        collected = RecordColumns()
        for offset, record in self.scan():
            collected.add(offset, record)
        columns = collected.columns()
        return columns.own_keys(), columns.offsets

    def _check_magic(self) -> None:
        if len(self._view) >= 4 and self._view[:4] != MAGIC_BYTES:
            magic = int.from_bytes(self._view[:4], "little")
            raise InsightError(
                f"{self.rec_path}: not a RecordIO file (magic {magic:#010x} at offset 0, want {MAGIC:#010x}); "
                f"give the .rec that face2rec or im2rec wrote; if only its beginning is damaged, "
                f"`{remedies.into_new(self.rec_path)}` skips that"
            )

    def _check_offsets(self) -> None:
        size = len(self._view)
        odd = int(np.bitwise_or.reduce(self.offsets)) & 3  # records begin at multiples of 4
        if odd or self.offsets.max(initial=0) > max(size - FRAME.size, 0):
            row = int(np.argmax((self.offsets & 3 != 0) | (self.offsets > size - FRAME.size)))
            key, offset = self.keys[row], self.offsets[row]
            raise InsightError(
                f"{self.rec_path}: key {key} should be at offset {offset}, and the file has {size} bytes; "
                f"it was truncated, or {self.idx_path} belongs to another .rec; `{remedies.into_new(self.rec_path)}` "
                f"rebuilds the keys of the existing records"
            )

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: int) -> bool:
        return self._rows.find(key) >= 0

    def __iter__(self) -> Iterator[int]:
        return iter(self.keys.tolist())

    def read(self, key: int) -> Record:
        """The record of a key.

        Raises
        ------
        InsightError
            The key is not in the .idx, or its record is damaged.
        """
        row = self._rows.find(key)
        if row < 0:
            raise InsightError(f"{self.index_name}: no key {key} among its {len(self.keys)} keys")
        return self.read_at(int(self.offsets[row]), f"key {key}")

    def read_at(self, offset: int, what: str = "a record") -> Record:
        """The record that begins at a byte offset; ``what`` names it in messages."""
        data, _ = self._data_at(offset, what)
        if len(data) < HEADER.size:
            raise self._damage(what, offset, f"{len(data)} bytes are too few for an image record's header")
        flag, label, id, id2 = HEADER.unpack_from(data)
        begin = HEADER.size
        if flag:
            begin += 4 * flag
            if begin > len(data):
                raise self._damage(what, offset, f"the header announces {flag} labels in {len(data)} bytes")
            label = np.frombuffer(data, "<f4", flag, HEADER.size).copy()  # a view would keep the map open
        return Record(flag, label, id, id2, data[begin:])

    def scan(self) -> Iterator[Tuple[int, Record]]:
        """Offset and record of all records in the .rec, front to back, without the .idx. Raises DamagedRecord."""
        offset = 0
        while offset < len(self._view):
            what = "a record"
            _, end = self._data_at(offset, what)
            yield offset, self.read_at(offset, what)
            offset = end

    def _data_at(self, offset: int, what: str) -> Tuple[memoryview, int]:
        """The data of a frame (a view, or a joined copy if it is in parts) and the offset of the next."""
        part, begin, length = self._frame_at(offset, what)
        end = begin + length
        if part == WHOLE:
            return self._view[begin:end], end + (-length & 3)
        if part != FIRST:
            raise self._damage(what, offset, "this is the middle of a record")
        pieces: List[Union[bytes, memoryview]] = [self._view[begin:end]]
        at = end + (-length & 3)
        while part != LAST:
            part, begin, length = self._frame_at(at, what)
            if part not in (MIDDLE, LAST):
                raise self._damage(what, at, "the record's next part is missing")
            end = begin + length
            pieces += MAGIC_BYTES, self._view[begin:end]
            at = end + (-length & 3)
        return memoryview(b"".join(pieces)), at

    def _frame_at(self, offset: int, what: str) -> Tuple[int, int, int]:
        size = len(self._view)
        if not 0 <= offset <= size - FRAME.size:
            raise self._damage(what, offset, f"the file ends at {size}: it was truncated")
        magic, lrec = FRAME.unpack_from(self._view, offset)
        if magic != MAGIC:
            raise self._damage(what, offset, f"magic {magic:#010x}, want {MAGIC:#010x}: foreign or damaged")
        begin, length = offset + FRAME.size, lrec & LENGTH_MASK
        if begin + length > size:
            raise self._damage(what, offset, f"{length} bytes are announced, {size - begin} are left: truncated")
        return lrec >> LENGTH_BITS, begin, length

    def _damage(self, what: str, offset: int, reason: str) -> DamagedRecord:
        return DamagedRecord(
            f"{self.rec_path}: {what} at offset {offset}: {reason}; fetch the .rec and its .idx again, or "
            f"`{remedies.into_new(self.rec_path)}` skips damaged records",
            reason,
        )

    def headers(self, keys: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Flag, first label and payload size of many records at once, without reading payloads.

        Parameters
        ----------
        keys : np.ndarray
            (N,) int64.

        Returns
        -------
        flags : np.ndarray
            (N,) int64.
        labels : np.ndarray
            (N,) float32: the label, or the first of a vector.
        sizes : np.ndarray
            (N,) int64, bytes.

        Raises
        ------
        InsightError
            A key is unknown or its record is damaged.
        """
        keys = np.asarray(keys, np.int64)
        offsets = self.offsets[self._rows.find_all(keys)]
        words = np.frombuffer(self._view, "<u4", len(self._view) // 4)
        at = offsets // 4
        last = len(words) - 1
        magic, lrec = words[at], words[np.minimum(at + 1, last)]
        flags = words[np.minimum(at + 2, last)].astype(np.int64)
        length = (lrec & LENGTH_MASK).astype(np.int64)
        sizes = length - HEADER.size - 4 * flags
        labels = words[np.minimum(np.where(flags > 0, at + 8, at + 3), last)].view(np.float32)
        plain = (magic == MAGIC) & (lrec >> LENGTH_BITS == WHOLE) & (sizes >= 0)
        plain &= offsets + FRAME.size + length <= len(self._view)
        for i in np.flatnonzero(~plain):  # in parts, or damaged, which read() raises
            record = self.read(int(keys[i]))
            flags[i], sizes[i] = record.flag, len(record.payload)
            labels[i] = record.label[0] if record.flag else record.label
        return flags, labels, sizes

    def close(self) -> None:
        """Release the file; the map stays open as long as payloads are in use."""
        self._view = memoryview(b"")
        self._map = None

    def __enter__(self) -> RecordFile:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def __reduce__(self):
        return RecordFile, (self.rec_path, self.idx_path)

    def __repr__(self) -> str:
        return f"RecordFile({self.rec_path!r}, {len(self)} records)"


def _map_file(path: str) -> Tuple[Optional[mmap.mmap], memoryview]:
    try:
        with open(path, "rb") as rec:
            if not os.fstat(rec.fileno()).st_size:
                return None, memoryview(b"")
            mapped = mmap.mmap(rec.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise InsightError(f"{path}: no such file; give a .rec file") from None
    except IsADirectoryError:
        raise InsightError(f"{path}: a folder, want a .rec file") from None
    return mapped, memoryview(mapped)
