"""The files of a set, read without trusting any of them: .rec front to back, .idx beside it.

:class:`FaceSet` refuses a damaged set at the first fault, as it should. Here the .rec is walked
frame by frame, and behind a damaged place the walk goes on at the next magic number: RecordIO
escapes the magic inside payloads, so where it stands at a multiple of 4 a frame begins.
About 40 bytes are kept of each record.
"""

from __future__ import annotations

import mmap
import os
from array import array
from typing import Iterator, List, Optional, Tuple

import numpy as np

from ..errors import InsightError
from ..formats.framing import FIRST, FRAME, LAST, LENGTH_BITS, LENGTH_MASK, MAGIC, MAGIC_BYTES, WHOLE
from ..formats.idx import idx_path_of, read_idx
from ..formats.recordio import Record, RecordFile
from ..progress import track
from .check_rules import Findings

_NO_LABEL = float("nan")


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
        (M,) int64: from the .idx; -1 where no key names the record. Without a usable .idx the
        records' own numbers if they differ, else 0, 1, 2, ..
    sound : bool
        The two files are whole and fit each other, so faults of layout mean something.
    """

    def __init__(self, rec_path: str, findings: Findings):
        self.rec_path = rec_path
        self.sound = True
        self._findings = findings
        self._file: Optional[RecordFile] = None
        self._damaged: List[int] = []
        self._tail: Optional[int] = None
        columns = [array("q"), array("q"), array("q"), array("f"), array("f"), array("Q")]
        self.bytes = os.path.getsize(rec_path)
        index = self._read_idx()
        try:
            self._file = RecordFile(rec_path, os.devnull)  # no .idx: reads by offset
        except InsightError as error:
            self._fault("not-recordio", str(error))
        else:
            self._walk(columns, None if index is None else len(index[0]))
        self.offsets, self.flags, self.sizes, self.first, self.second, self.ids = (
            np.frombuffer(column, column.typecode) if column else np.zeros(0, column.typecode) for column in columns
        )
        self.keys = self._assign(index) if len(self.offsets) else np.zeros(0, np.int64)

    def payload(self, row: int) -> memoryview:
        """The payload of a record that the walk found whole."""
        return self._file.read_at(int(self.offsets[row])).payload

    def close(self) -> None:
        if self._file is not None:
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

    def _walk(self, columns, total: Optional[int]) -> None:
        offsets, flags, sizes, first, second, ids = columns
        for offset, record in track(self._frames(), "reading records", total, "records"):
            flag, label = record.flag, record.label
            offsets.append(offset)
            flags.append(flag)
            sizes.append(len(record.payload))
            first.append(label[0] if flag else label)
            second.append(label[1] if flag > 1 else _NO_LABEL)
            ids.append(record.id)

    def _frames(self) -> Iterator[Tuple[int, Record]]:
        if not self.bytes:
            self._fault("truncated-tail", "the .rec is empty")
            return
        with open(self.rec_path, "rb") as rec, mmap.mmap(rec.fileno(), 0, access=mmap.ACCESS_READ) as data:
            offset = 0
            while offset < self.bytes:
                try:
                    record = self._file.read_at(offset)
                except InsightError as error:
                    following = _next_frame(data, offset + 4)
                    self._note_damage(data, offset, following, str(error))
                    offset = following
                    continue
                yield offset, record
                offset = _end_of_record(data, offset)

    def _note_damage(self, data: mmap.mmap, offset: int, following: int, message: str) -> None:
        if following >= self.bytes and _is_cut(data, offset):
            self._tail = offset
            self._fault("truncated-tail", f"{self.bytes - offset} bytes from offset {offset} on are no whole record")
        else:
            self._damaged.append(offset)
            self._fault("damaged-record", message.partition("; ")[0])

    def _own_numbers(self) -> np.ndarray:
        """Keys where no .idx gives them, as :class:`RecordFile` derives them."""
        ids = self.ids
        usable = ids.max(initial=0) < 1 << 63 and len(np.unique(ids)) == len(ids)
        return ids.astype(np.int64) if usable else np.arange(len(ids))

    def _assign(self, index: Optional[Tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """The key of each record, and what is wrong between .idx and .rec."""
        if index is None:
            return self._own_numbers()
        keys, offsets = index
        ascending = np.sort(keys)
        twice = np.unique(ascending[1:][ascending[1:] == ascending[:-1]])
        if len(twice):
            self.sound = False
            self._findings.add_all("idx-duplicate-key", twice, lambda key: (key, "stands there more than once"))
            return self._own_numbers()
        row = np.minimum(np.searchsorted(self.offsets, offsets), len(self.offsets) - 1)
        hit = self.offsets[row] == offsets
        cut = ~hit & (offsets >= (self.bytes if self._tail is None else self._tail))
        self._keys_behind_the_end(keys[cut])
        lost = np.flatnonzero(~hit & ~cut & ~np.isin(offsets, self._damaged))
        if 2 * len(lost) > len(keys) - int(cut.sum()):
            self._fault("idx-foreign", f"{len(lost)} of {len(keys)} offsets begin no record")
            return self._own_numbers()
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


def _next_frame(data: mmap.mmap, offset: int) -> int:
    """The next offset at which a record may begin, or the end of the file."""
    size = len(data)
    at = data.find(MAGIC_BYTES, offset)
    while at >= 0:
        if not at & 3 and at + FRAME.size <= size:
            _, lrec = FRAME.unpack_from(data, at)
            if lrec >> LENGTH_BITS in (WHOLE, FIRST) and at + FRAME.size + (lrec & LENGTH_MASK) <= size:
                return at
        at = data.find(MAGIC_BYTES, at + 1)
    return size


def _is_cut(data: mmap.mmap, offset: int) -> bool:
    """Whether a frame begins at the offset and runs on behind the end of the file."""
    if offset + FRAME.size > len(data):
        return True
    magic, lrec = FRAME.unpack_from(data, offset)
    over = offset + FRAME.size + (lrec & LENGTH_MASK) > len(data)
    return magic == MAGIC and (over or lrec >> LENGTH_BITS == FIRST)
