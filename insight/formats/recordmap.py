"""Memory-mapped .rec files of a set, read by offset, without keys.

Payloads are views of the map. No data is copied and no file position is shared, so a
reader can be used by several threads, and forked workers inherit it.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_right
from typing import Iterator, List, NamedTuple, Sequence, Tuple, Union

import numpy as np

from ..errors import InsightError
from . import remedies
from .framing import (
    EXACT_FLOAT32,
    FIRST,
    FRAME,
    HEADER,
    LAST,
    LENGTH_BITS,
    LENGTH_MASK,
    MAGIC,
    MAGIC_BYTES,
    MIDDLE,
    WHOLE,
    exact_first,
)

READ_BYTES = 1 << 22  # bytes per read, when a span is read ahead


class DamagedRecord(InsightError):
    """Raised if there is no complete record at an offset. ``reason`` is the cause, without file and remedy."""

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason


class Record(NamedTuple):
    """An image record, split as by ``mx.recordio.unpack``."""

    flag: int
    label: Union[float, np.ndarray]  # (flag,) float32 where flag > 0
    id: int
    id2: int
    payload: memoryview

    @property
    def first(self) -> float:
        """The label, or the first of several; exact above 2^24 too, if ``id2`` stores it (see ``framing``)."""
        return exact_first(float(self.label[0] if self.flag else self.label), self.id2)


class Headers(NamedTuple):
    """Headers of N records.

    Attributes
    ----------
    flags, sizes : np.ndarray
        (N,) int64; sizes are bytes of the payload.
    first, second : np.ndarray
        (N,) float64: :attr:`Record.first`; (N,) float32: the second number of a vector label, NaN if there is none.
    """

    flags: np.ndarray
    first: np.ndarray
    second: np.ndarray
    sizes: np.ndarray


class RecordMap:
    """A memory-mapped .rec file.

    Parameters
    ----------
    path : str
    checked : bool
        Whether to require that the file begins with a record.

    Attributes
    ----------
    size : int
        Bytes.
    data : mmap.mmap or bytes
        The file's bytes, with ``find``.

    Raises
    ------
    InsightError
        The file is missing, or is not a RecordIO file.
    """

    def __init__(self, path: str, checked: bool = True):
        self.path = path
        self.data, self._view = _map_file(path)
        self.size = len(self._view)
        if checked and self.size >= 4 and self._view[:4] != MAGIC_BYTES:
            magic = int.from_bytes(self._view[:4], "little")
            self.close()
            raise InsightError(
                f"{path}: not a RecordIO file (magic {magic:#010x} at offset 0, want {MAGIC:#010x}); "
                f"give the .rec that face2rec or im2rec wrote; if only its beginning is damaged, "
                f"`{remedies.into_new(path)}` skips that"
            )

    def read_at(self, offset: int, what: str = "a record") -> Record:
        """The record at a byte offset; ``what`` names it in messages. Raises DamagedRecord."""
        return self._record(self._data_at(offset, what)[0], offset, what)

    def _record(self, data: memoryview, offset: int, what: str) -> Record:
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
        """Yield offset and record, in the order of the file. Raises DamagedRecord."""
        offset = 0
        while offset < self.size:
            data, end = self._data_at(offset, "a record")
            yield offset, self._record(data, offset, "a record")
            offset = end

    def headers(self, offsets: np.ndarray, keys: np.ndarray) -> Headers:
        """Read the headers of many records at once, without their payloads.

        Parameters
        ----------
        offsets, keys : np.ndarray
            (N,) int64; keys are for messages.

        Raises
        ------
        DamagedRecord
        """
        words = np.frombuffer(self._view, "<u4", self.size // 4)
        at = offsets // 4
        last = len(words) - 1
        magic, lrec = words[at], words[np.minimum(at + 1, last)]
        flags = words[np.minimum(at + 2, last)].astype(np.int64)
        length = (lrec & LENGTH_MASK).astype(np.int64)
        sizes = length - HEADER.size - 4 * flags
        first = words[np.minimum(np.where(flags > 0, at + 8, at + 3), last)].view(np.float32).astype(np.float64)
        second = np.where(flags > 1, words[np.minimum(at + 9, last)].view(np.float32), np.float32(np.nan))
        large = np.flatnonzero(first >= EXACT_FLOAT32)
        low, high = (words[np.minimum(at[large] + word, last)].astype(np.uint64) for word in (6, 7))
        id2 = low | high << np.uint64(32)
        first[large] = np.where(id2.astype(np.float32) == first[large], id2, first[large])
        plain = (magic == MAGIC) & (lrec >> LENGTH_BITS == WHOLE) & (sizes >= 0)
        plain &= offsets + FRAME.size + length <= self.size
        for i in np.flatnonzero(~plain):  # in parts, or damaged: then read_at() raises
            record = self.read_at(int(offsets[i]), f"key {keys[i]}")
            flags[i], sizes[i] = record.flag, len(record.payload)
            first[i] = record.first
            second[i] = record.label[1] if record.flag > 1 else np.nan
        return Headers(flags, first, second, sizes)

    def read_ahead(self, begin: int, end: int) -> Iterator[int]:
        """Read bytes ``begin`` to ``end`` - 1 into the page cache; yields the number of bytes of each read."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            for at in range(begin, min(end, self.size), READ_BYTES):
                yield len(os.pread(descriptor, min(READ_BYTES, end - at), at))
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Release the file; the memory map stays open as long as payloads are in use."""
        self._view = memoryview(b"")
        self.data = b""

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
        size = self.size
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
            f"{self.path}: {what} at offset {offset}: {reason}; fetch the .rec and its .idx again, or "
            f"`{remedies.into_new(self.path)}` skips damaged records",
            reason,
        )


class RecordMaps:
    """The memory-mapped .rec files of a set. An offset in the set is one in the concatenated files.

    Parameters
    ----------
    paths : sequence of str
    checked : bool
        Whether to require that each file begins with a record.

    Attributes
    ----------
    paths : list of str
    files : list of RecordMap
    bases : np.ndarray
        (S + 1,) int64: offset in the set at which each of the S files begins; the last is the total size.

    Raises
    ------
    InsightError
        As :class:`RecordMap`.
    """

    def __init__(self, paths: Sequence[str], checked: bool = True):
        self.paths = list(paths)
        self.files: List[RecordMap] = []
        try:
            for path in self.paths:
                self.files.append(RecordMap(path, checked))
        except BaseException:
            self.close()
            raise
        self.bases = np.cumsum([0, *(file.size for file in self.files)])
        self._begins = self.bases[:-1].tolist()

    @property
    def bytes(self) -> int:
        """Total size of the files."""
        return int(self.bases[-1])

    def locate(self, offset: int) -> Tuple[int, int]:
        """Number of the file that contains an offset in the set, and the offset in that file."""
        number = bisect_right(self._begins, offset) - 1
        return number, offset - self._begins[number]

    def read_at(self, offset: int) -> Record:
        """The record at an offset in the set. Raises DamagedRecord."""
        number, inside = self.locate(offset)
        return self.files[number].read_at(inside)

    def scan(self) -> Iterator[Tuple[int, Record]]:
        """Yield offset in the set and record, in the order of the files. Raises DamagedRecord."""
        for base, file in zip(self._begins, self.files):
            for offset, record in file.scan():
                yield base + offset, record

    def release_pages(self) -> None:
        """Drop the pages read so far from the process's resident memory; they stay in the page cache."""
        for file in self.files:
            if isinstance(file.data, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                file.data.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Release the files; memory maps stay open as long as payloads are in use."""
        for file in self.files:
            file.close()


def _map_file(path: str) -> Tuple[Union[mmap.mmap, bytes], memoryview]:
    try:
        with open(path, "rb") as rec:
            if not os.fstat(rec.fileno()).st_size:
                return b"", memoryview(b"")
            mapped = mmap.mmap(rec.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise InsightError(f"{path}: no such file; give a .rec file") from None
    except IsADirectoryError:
        raise InsightError(f"{path}: a folder, want a .rec file") from None
    return mapped, memoryview(mapped)
