"""Reader of damaged sets: the .rec front to back, the .idx beside it, without trusting either.

:class:`FaceSet` raises at the first fault. This reader walks the .rec frame by frame, and after damage
resumes at the next magic number: RecordIO escapes the magic inside payloads, so that it cannot occur
in one. About 40 bytes are kept of each record.
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
    """The .rec of a set, as of :func:`find_rec`, also if a killed writer left the set unfinished."""
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
    """Bytes ``offset`` to ``end`` of a .rec, which are not a record, with the reason."""

    offset: int
    end: int
    reason: str


class AnyFile(RecordFile):
    """A .rec that may begin with a damaged record; read by offset, without .idx."""

    def __init__(self, rec_path: str):
        super().__init__(rec_path, os.devnull)

    def _check_magic(self) -> None:
        pass

    @property
    def data(self) -> mmap.mmap:
        """The file's bytes, with ``find``."""
        return self._map


class Records:
    """All intact records of a .rec, in the file's order, and their keys in the .idx.

    Attributes
    ----------
    offsets, flags, sizes : np.ndarray
        (M,) int64: byte offset of the record, flag of its header, bytes of its payload.
    first, second : np.ndarray
        (M,) float32: the label, or the first two numbers of a vector; NaN if there are fewer.
    ids : np.ndarray
        (M,) uint64: the records' own numbers.
    keys : np.ndarray
        (M,) int64: from the .idx; -1 for a record without a key. Without a usable .idx, the keys
        that :class:`RecordFile` derives.
    index : (np.ndarray, np.ndarray) or None
        Keys and offsets of the .idx, if it can be read.
    damage : list of DamagedSpan
        The parts of the .rec that are not intact records.
    sound : bool
        Whether both files are intact and match, so that the layout can be checked.
    """

    def __init__(self, rec_path: str, findings: Findings):
        self.rec_path = rec_path
        self.sound = True
        self._findings = findings
        self.damage: List[DamagedSpan] = []
        self._tail: Optional[int] = None
        self.bytes = os.path.getsize(rec_path)
        self.index = self._read_idx()
        self._file = AnyFile(rec_path)
        collected = RecordColumns()
        for offset, record in track(self._frames(), "reading records", self.index and len(self.index[0]), "records"):
            collected.add(offset, record)
        self._columns = collected.columns()
        self.offsets, self.flags, self.sizes, self.first, self.second, self.ids = self._columns
        self._report_damage()
        self.keys = self._assign(self.index) if len(self.offsets) else np.zeros(0, np.int64)

    def ranges(self) -> np.ndarray:
        """(M,) bool: records that may be header or identity records."""
        return self._columns.ranges()

    def own_keys(self) -> np.ndarray:
        """(M,) int64: keys derived from the .rec only."""
        return self._columns.own_keys()

    def has_original_keys(self) -> bool:
        """Whether :meth:`own_keys` are equivalent to the set's original keys."""
        return self._columns.has_original_keys()

    def with_keys(self, keys: np.ndarray, sound: bool) -> Records:
        """The same records with other keys, (M,) int64."""
        other = copy.copy(self)
        other.keys, other.sound = keys, sound
        return other

    def read(self, row: int) -> Record:
        """An intact record, by row."""
        return self._file.read_at(int(self.offsets[row]))

    def payload(self, row: int) -> memoryview:
        """The payload of an intact record, by row."""
        return self.read(row).payload

    def close(self) -> None:
        self._file.close()

    def _fault(self, code: str, detail: str, key: Optional[int] = None) -> None:
        self.sound = False
        self._findings.add(code, key, detail)

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
                    self._fault("truncated-tail", f"{end - offset} bytes from offset {offset} are not a whole record")
                else:
                    self._fault("damaged-record", f"{self.rec_path}: a record at offset {offset}: {reason}")

    def _assign(self, index: Optional[Tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """The key of each record; reports differences between .idx and .rec."""
        if index is None:
            return self.own_keys()
        keys, offsets = index
        ascending = np.sort(keys)
        repeated = np.unique(ascending[1:][ascending[1:] == ascending[:-1]])
        if len(repeated):
            self.sound = False
            self._findings.add_all("idx-duplicate-key", repeated, lambda key: (key, "occurs more than once"))
            return self.own_keys()
        row = np.minimum(np.searchsorted(self.offsets, offsets), len(self.offsets) - 1)
        hit = self.offsets[row] == offsets
        cut = ~hit & (offsets >= (self.bytes if self._tail is None else self._tail))
        self._report_keys_past_the_end(keys[cut])
        damaged = [damage.offset for damage in self.damage]
        lost = np.flatnonzero(~hit & ~cut & ~np.isin(offsets, damaged))
        if 2 * len(lost) > len(keys) - int(cut.sum()):
            self._fault("idx-foreign", f"{len(lost)} of {len(keys)} offsets begin no record")
            return self.own_keys()
        return self._match(keys, offsets, row, hit, lost)

    def _match(self, keys, offsets, row, hit, lost) -> np.ndarray:
        self.sound &= not len(lost)
        self._findings.add_all("idx-offset", lost, lambda i: (int(keys[i]), f"no record at offset {offsets[i]}"))
        assigned = np.full(len(self.offsets), -1, np.int64)
        named, firsts = np.unique(row[hit], return_index=True)
        assigned[named] = keys[hit][firsts]
        shared = np.setdiff1d(np.arange(int(hit.sum())), firsts)
        self.sound &= not len(shared)
        self._findings.add_all(
            "idx-shared-offset",
            shared,
            lambda i: (int(keys[hit][i]), f"the same record as key {assigned[row[hit][i]]}"),
        )
        unnamed = np.flatnonzero(assigned < 0)
        if len(unnamed) > len(lost) + len(shared):  # those of a wrong offset are already reported
            self._findings.add_all("unnamed-record", unnamed, lambda i: (None, f"at offset {self.offsets[i]}"))
        self._compare_ids(assigned)
        return assigned

    def _report_keys_past_the_end(self, keys: np.ndarray) -> None:
        if len(keys):
            detail = f"the .idx lists {len(keys)} records past the end of the .rec, {self.bytes} bytes long"
            self._fault("truncated-tail", detail, int(keys[0]))

    def _compare_ids(self, keys: np.ndarray) -> None:
        """Compare the records' own numbers with their keys, if the numbers are distinct."""
        named = np.flatnonzero(keys >= 0)
        ids = self.ids[named]
        if not len(ids) or ids.max() >= 1 << 62 or len(np.unique(ids)) < len(ids):
            return
        # a constant difference, such as keys from 1 and numbers from 0, is not a shuffle
        shift = keys[named] - ids.astype(np.int64)
        if len(np.unique(shift)) == 1:
            return
        different = named[shift != 0]
        different = different[np.argsort(keys[different])]
        self._findings.add_all("record-id", different, lambda row: (int(keys[row]), f"the record says {self.ids[row]}"))


def _end_of_record(data: mmap.mmap, offset: int) -> int:
    """The offset after an intact record."""
    while True:
        _, lrec = FRAME.unpack_from(data, offset)
        length = lrec & LENGTH_MASK
        offset += FRAME.size + length + (-length & 3)
        if lrec >> LENGTH_BITS in (WHOLE, LAST):
            return offset


def _frame_inside(data: mmap.mmap, offset: int, end: int) -> Optional[int]:
    """The offset of a record inside another, whose length is then damaged; None if there is none.

    The search runs only if no record begins at the end of the outer one, so sound files need no search.
    """
    if end >= len(data) or data[end : end + len(MAGIC_BYTES)] == MAGIC_BYTES:
        return None
    inside = _next_frame(data, offset + 1)
    return inside if inside < end else None


def _next_frame(data: mmap.mmap, offset: int) -> int:
    """The next offset at which a record may begin, or the end of the file.

    Frames begin at multiples of 4 unless bytes were lost or inserted before them; at other offsets the
    magic counts only if another record, or the end of the file, follows the frame.
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
    """Whether a frame begins at the offset and extends past the end of the file."""
    if offset + FRAME.size > len(data):
        return True
    magic, lrec = FRAME.unpack_from(data, offset)
    over = offset + FRAME.size + (lrec & LENGTH_MASK) > len(data)
    return magic == MAGIC and (over or lrec >> LENGTH_BITS == FIRST)
