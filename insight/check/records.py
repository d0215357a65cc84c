"""The files of a set, read without trusting any of them: .rec front to back, .idx beside it.

:class:`FaceSet` refuses a damaged set at the first fault, as it should. Here the .rec is walked
frame by frame, and behind a damaged place the walk goes on at the next magic number: RecordIO
escapes the magic inside payloads, so that it occurs in none by design.
About 40 bytes are kept of each record.
"""

from __future__ import annotations

import copy
import mmap
import os
from typing import Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from ..errors import InsightError
from ..files import commit
from ..formats.faceset import DEFAULT_NAME, find_rec
from ..formats.framing import FIRST, FRAME, LAST, LENGTH_BITS, LENGTH_MASK, MAGIC, MAGIC_BYTES, WHOLE
from ..formats.idx import idx_path_of, read_idx
from ..formats.recordcolumns import RecordColumns
from ..formats.recordio import DamagedRecord, Record, RecordFile
from ..progress import track
from .rules import Findings


def locate(path: str, findings: Findings) -> str:
    """The .rec of a set, as :func:`find_rec` finds it, also where a killed writer left the set unfinished."""
    try:
        return find_rec(path)
    except InsightError as error:
        folder = path if os.path.isdir(path) else os.path.dirname(path) or "."
        begun = [name for name in commit.unfinished(folder) if name.endswith(".rec")]
        existing = [name for name in begun if os.path.exists(os.path.join(folder, name))]
        if not existing:
            raise
        findings.add("unfinished", None, str(error).partition(";")[0])
        return os.path.join(folder, DEFAULT_NAME if DEFAULT_NAME in existing else existing[0])


class DamagedSpan(NamedTuple):
    """Bytes ``offset`` to ``end`` of a .rec, which are no record, and why."""

    offset: int
    end: int
    reason: str


class _AnyFile(RecordFile):
    """A .rec that may begin with a damaged record; without .idx, to be read by offset."""

    def __init__(self, rec_path: str):
        super().__init__(rec_path, os.devnull)

    def _check_magic(self) -> None:
        pass

    @property
    def data(self) -> mmap.mmap:
        """The file's bytes, which can be searched."""
        return self._map


class Records:
    """Every record of a .rec, in the file's order, and the keys that the .idx gives them.

    Attributes
    ----------
    offsets, flags, sizes : np.ndarray
        (M,) int64: where a record begins, its header's flag, the bytes of its payload.
    first, second : np.ndarray
        (M,) float32: the label, or the first two numbers of a vector; NaN where there are fewer.
    ids : np.ndarray
        (M,) uint64: the records' own numbers.
    keys : np.ndarray
        (M,) int64: from the .idx; -1 where no key names the record. Without a usable .idx those that
        :class:`RecordFile` derives.
    index : (np.ndarray, np.ndarray) or None
        Keys and offsets of the .idx, where it can be read.
    damage : list of DamagedSpan
        What the .rec holds besides whole records.
    sound : bool
        The two files are whole and fit each other, so faults of layout mean something.
    """

    def __init__(self, rec_path: str, findings: Findings):
        self.rec_path = rec_path
        self.sound = True
        self._findings = findings
        self.damage: List[DamagedSpan] = []
        self._tail: Optional[int] = None
        self.bytes = os.path.getsize(rec_path)
        self.index = self._read_idx()
        self._file = _AnyFile(rec_path)
        found = RecordColumns()
        for offset, record in track(self._frames(), "reading records", self.index and len(self.index[0]), "records"):
            found.add(offset, record)
        self._columns = found.columns()
        self.offsets, self.flags, self.sizes, self.first, self.second, self.ids = self._columns
        self._report_damage()
        self.keys = self._assign(self.index) if len(self.offsets) else np.zeros(0, np.int64)

    def ranges(self) -> np.ndarray:
        """(M,) bool: records that look like header and identity records."""
        return self._columns.ranges()

    def own_keys(self) -> np.ndarray:
        """(M,) int64: keys that follow from the .rec alone."""
        return self._columns.own_keys()

    def tells_keys(self) -> bool:
        """Whether :meth:`own_keys` are those of the set."""
        return self._columns.tells_keys()

    def with_keys(self, keys: np.ndarray, sound: bool) -> Records:
        """The same records under other keys (M,) int64."""
        other = copy.copy(self)
        other.keys, other.sound = keys, sound
        return other

    def read(self, row: int) -> Record:
        """A record that the walk found whole."""
        return self._file.read_at(int(self.offsets[row]))

    def payload(self, row: int) -> memoryview:
        """The payload of a record that the walk found whole."""
        return self.read(row).payload

    def close(self) -> None:
        self._file.close()

    def _fault(self, code: str, found: str, key: Optional[int] = None) -> None:
        self.sound = False
        self._findings.add(code, key, found)

    def _read_idx(self) -> Optional[Tuple[np.ndarray, np.ndarray]]:
        path = idx_path_of(self.rec_path)
        if not os.path.exists(path):
            self._fault("idx-missing", f"{path} is missing")
            return None
        try:
            return read_idx(path)
        except InsightError as error:
            self._fault("idx-unreadable", str(error))
            return None

    def _frames(self) -> Iterator[Tuple[int, Record]]:
        if not self.bytes:
            return
        data, offset = self._file.data, 0
        while offset < self.bytes:
            try:
                record = self._file.read_at(offset)
            except DamagedRecord as error:
                following = _next_frame(data, offset + 1)
                if following >= self.bytes and _is_cut(data, offset):
                    self._tail = offset
                self.damage.append(DamagedSpan(offset, following, error.reason))
                offset = following
                continue
            end = _end_of_record(data, offset)
            swallowed = _frame_inside(data, offset, end)
            if swallowed is not None:
                reason = f"its length, {end - offset} bytes, reaches over the record at {swallowed}"
                self.damage.append(DamagedSpan(offset, swallowed, reason))
                offset = swallowed
                continue
            yield offset, record
            offset = end

    def _report_damage(self) -> None:
        if not self.bytes:
            self._fault("truncated-tail", "the .rec is empty")
        elif not len(self.offsets) and self.damage[0].offset == 0 and self._tail is None:
            self._fault("not-recordio", f"{self.rec_path}: not a RecordIO file ({self.damage[0].reason})")
        else:
            for offset, end, reason in self.damage:
                if offset == self._tail:
                    self._fault("truncated-tail", f"{end - offset} bytes from offset {offset} on are no whole record")
                else:
                    self._fault("damaged-record", f"{self.rec_path}: a record at offset {offset}: {reason}")

    def _assign(self, index: Optional[Tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """The key of each record, and what is wrong between .idx and .rec."""
        if index is None:
            return self.own_keys()
        keys, offsets = index
        ascending = np.sort(keys)
        twice = np.unique(ascending[1:][ascending[1:] == ascending[:-1]])
        if len(twice):
            self.sound = False
            self._findings.add_all("idx-duplicate-key", twice, lambda key: (key, "stands there more than once"))
            return self.own_keys()
        row = np.minimum(np.searchsorted(self.offsets, offsets), len(self.offsets) - 1)
        hit = self.offsets[row] == offsets
        cut = ~hit & (offsets >= (self.bytes if self._tail is None else self._tail))
        self._keys_behind_the_end(keys[cut])
        damaged = [damage.offset for damage in self.damage]
        lost = np.flatnonzero(~hit & ~cut & ~np.isin(offsets, damaged))
        if 2 * len(lost) > len(keys) - int(cut.sum()):
            self._fault("idx-foreign", f"{len(lost)} of {len(keys)} offsets begin no record")
            return self.own_keys()
        return self._match(keys, offsets, row, hit, lost)

    def _match(self, keys, offsets, row, hit, lost) -> np.ndarray:
        self.sound &= not len(lost)
        self._findings.add_all("idx-offset", lost, lambda i: (int(keys[i]), f"no record at offset {offsets[i]}"))
        found = np.full(len(self.offsets), -1, np.int64)
        named, firsts = np.unique(row[hit], return_index=True)
        found[named] = keys[hit][firsts]
        shared = np.setdiff1d(np.arange(int(hit.sum())), firsts)
        self.sound &= not len(shared)
        self._findings.add_all(
            "idx-shared-offset",
            shared,
            lambda i: (int(keys[hit][i]), f"the same record as key {found[row[hit][i]]}"),
        )
        unnamed = np.flatnonzero(found < 0)
        if len(unnamed) > len(lost) + len(shared):  # those of a wrong offset were told of already
            self._findings.add_all("unnamed-record", unnamed, lambda i: (None, f"at offset {self.offsets[i]}"))
        self._compare_ids(found)
        return found

    def _keys_behind_the_end(self, keys: np.ndarray) -> None:
        if len(keys):
            found = f"the .idx names {len(keys)} records behind the end of the .rec, {self.bytes} bytes long"
            self._fault("truncated-tail", found, int(keys[0]))

    def _compare_ids(self, keys: np.ndarray) -> None:
        """A record's own number against its key, where writers gave each record its own."""
        named = np.flatnonzero(keys >= 0)
        ids = self.ids[named]
        if not len(ids) or ids.max() >= 1 << 62 or len(np.unique(ids)) < len(ids):
            return
        # a set that counts from 1 in the .idx and from 0 in the records (or so) is no shuffle
        shift = keys[named] - ids.astype(np.int64)
        if len(np.unique(shift)) == 1:
            return
        odd = named[shift != 0]
        odd = odd[np.argsort(keys[odd])]
        self._findings.add_all("record-id", odd, lambda row: (int(keys[row]), f"the record says {self.ids[row]}"))


def _end_of_record(data: mmap.mmap, offset: int) -> int:
    """Where the next record begins, behind one that was read whole."""
    while True:
        _, lrec = FRAME.unpack_from(data, offset)
        length = lrec & LENGTH_MASK
        offset += FRAME.size + length + (-length & 3)
        if lrec >> LENGTH_BITS in (WHOLE, LAST):
            return offset


def _frame_inside(data: mmap.mmap, offset: int, end: int) -> Optional[int]:
    """Where a record begins inside another, which has then a damaged length; None where none does.

    It is looked for only where nothing begins at the record's end, so sound files cost nothing.
    """
    if end >= len(data) or data[end : end + len(MAGIC_BYTES)] == MAGIC_BYTES:
        return None
    inside = _next_frame(data, offset + 1)
    return inside if inside < end else None


def _next_frame(data: mmap.mmap, offset: int) -> int:
    """The next offset at which a record may begin, or the end of the file.

    Frames begin at multiples of 4 unless bytes were lost or put in before them; elsewhere the magic
    counts only if another record, or the end of the file, follows where the frame ends.
    """
    size = len(data)
    at = data.find(MAGIC_BYTES, offset)
    while at >= 0:
        if at + FRAME.size <= size:
            _, lrec = FRAME.unpack_from(data, at)
            end = at + FRAME.size + (lrec & LENGTH_MASK)
            if lrec >> LENGTH_BITS in (WHOLE, FIRST) and end <= size and (not at & 3 or _is_followed(data, at, end)):
                return at
        at = data.find(MAGIC_BYTES, at + 1)
    return size


def _is_followed(data: mmap.mmap, begin: int, end: int) -> bool:
    end += -(end - begin) & 3
    return end >= len(data) or data[end : end + len(MAGIC_BYTES)] == MAGIC_BYTES


def _is_cut(data: mmap.mmap, offset: int) -> bool:
    """Whether a frame begins at the offset and runs on behind the end of the file."""
    if offset + FRAME.size > len(data):
        return True
    magic, lrec = FRAME.unpack_from(data, offset)
    over = offset + FRAME.size + (lrec & LENGTH_MASK) > len(data)
    return magic == MAGIC and (over or lrec >> LENGTH_BITS == FIRST)
