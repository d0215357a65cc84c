"""Reader of sets that may be damaged.

:class:`FaceSet` raises at the first fault. This reader scans the .rec files frame by frame (see ``walk``), and
compares the result with the .idx files. It keeps about 44 bytes per record. In a set of several shards, an offset is
that in the concatenation of all shards.
"""

from __future__ import annotations

import copy
import os
from typing import Iterator, List, Optional, Tuple

import numpy as np

from ..errors import InsightError
from ..files import commit
from ..formats import shards
from ..formats.faceset import DEFAULT_NAME, find_rec
from ..formats.idx import idx_path_of, read_idx
from ..formats.recordcolumns import RecordColumns
from ..formats.recordmap import Record, RecordMaps
from ..progress import track
from .rules import Findings
from .walk import DamagedSpan, Walk


def locate(path: str, findings: Findings) -> str:
    """Find the .rec of a set as :func:`find_rec` does, even if a killed writer left the set unfinished."""
    try:
        return find_rec(path)
    except InsightError as error:
        folder = path if os.path.isdir(path) else os.path.dirname(path) or "."
        begun = [name for name in commit.unfinished(folder) if name.endswith(".rec")]
        existing = [name for name in begun if os.path.exists(os.path.join(folder, name))]
        if not existing:
            raise
        rec_path = os.path.join(folder, DEFAULT_NAME if DEFAULT_NAME in existing else existing[0])
        if not all(map(os.path.exists, shards.paths(rec_path))):
            raise
        findings.add("unfinished", None, str(error).partition(";")[0])
        return rec_path


class Records:
    """All intact records of a .rec, in file order, and their keys in the .idx.

    Attributes
    ----------
    rec_path : str
        Path of the first shard.
    rec_paths : list of str
        Paths of all shards.
    bases : np.ndarray
        (S + 1,) int64. Offset at which each of the S shards begins, followed by the total size in bytes.
    bytes : int
        Total size of all .rec files.
    offsets, flags, sizes : np.ndarray
        (M,) int64. Byte offset of the record, flag of its header, and size of its payload in bytes.
    first : np.ndarray
        (M,) float64. See :attr:`~insight.formats.recordmap.Record.first`.
    second : np.ndarray
        (M,) float32. The second number of a label vector; NaN if there is none.
    ids : np.ndarray
        (M,) uint64. The ids in the record headers.
    keys : np.ndarray
        (M,) int64. Keys from the .idx; -1 for a record without a key. Without a usable .idx, the keys that
        :class:`~insight.formats.recordio.RecordFile` derives.
    index : (np.ndarray, np.ndarray) or None
        Keys and offsets of the .idx, if it can be read.
    damage : list of DamagedSpan
        The parts of the .rec that are not intact records.
    sound : bool
        Whether .rec and .idx are intact and match, so that the layout can be checked.
    """

    def __init__(self, rec_path: str, findings: Findings):
        self.rec_paths = shards.members(rec_path)
        self.rec_path = self.rec_paths[0]
        self.sound = True
        self._findings = findings
        self.damage: List[DamagedSpan] = []
        self._maps = RecordMaps(self.rec_paths, checked=False)
        self.bases, self.bytes = self._maps.bases, self._maps.bytes
        self._ends: List[int] = []  # offset after the last complete record of each shard
        self.index = self._read_idx()
        collected = RecordColumns()
        for offset, record in track(self._frames(), "reading records", self.index and len(self.index[0]), "records"):
            collected.add(offset, record)
        self._columns = collected.columns()
        self.offsets, self.flags, self.sizes, self.first, self.second, self.ids = self._columns
        self._report_damage()
        self.keys = self._assign(self.index) if len(self.offsets) else np.zeros(0, np.int64)

    def ranges(self) -> np.ndarray:
        """Return a mask of the records that may be header or identity records, (M,) bool."""
        return self._columns.ranges()

    def own_keys(self) -> np.ndarray:
        """Return keys that are derived from the .rec only, (M,) int64."""
        return self._columns.own_keys()

    def has_original_keys(self) -> bool:
        """Whether :meth:`own_keys` are equivalent to the set's original keys."""
        return self._columns.has_original_keys()

    def with_keys(self, keys: np.ndarray, sound: bool) -> Records:
        """Return the same records with other keys, (M,) int64."""
        other = copy.copy(self)
        other.keys, other.sound = keys, sound
        return other

    def read(self, row: int) -> Record:
        """Return the intact record at a row."""
        return self._maps.read_at(int(self.offsets[row]))

    def payload(self, row: int) -> memoryview:
        """Return the payload of the intact record at a row."""
        return self.read(row).payload

    def unaligned(self) -> np.ndarray:
        """Return a mask of the records that do not begin at a multiple of 4 bytes of their file, (M,) bool."""
        shard = np.searchsorted(self.bases[1:], self.offsets, side="right")
        return (self.offsets - self.bases[shard]) & 3 != 0

    def place(self, offset: int) -> str:
        """Return an offset as text: ``1234``, or ``train-00001-of-00004.rec:1234`` in a set of several shards."""
        if len(self.rec_paths) == 1:
            return str(offset)
        shard, inside = self._maps.locate(offset)
        return f"{os.path.basename(self.rec_paths[shard])}:{inside}"

    def close(self) -> None:
        self._maps.close()

    def _fault(self, code: str, detail: str, key: Optional[int] = None) -> None:
        self.sound = False
        self._findings.add(code, key, detail)

    def _read_idx(self) -> Optional[Tuple[np.ndarray, np.ndarray]]:
        """Return keys and offsets of all .idx files; None if one is missing or unreadable."""
        parts = []
        for path in map(idx_path_of, self.rec_paths):
            if not os.path.exists(path):
                self._fault("idx-missing", f"{path} is missing")
                return None
            try:
                parts.append(read_idx(path))
            except InsightError as error:
                self._fault("idx-unreadable", str(error))
                return None
        self._lines = [len(keys) for keys, _ in parts]
        keys = np.concatenate([keys for keys, _ in parts])
        for (_, offsets), base, file in zip(parts, self.bases, self._maps.files):
            # offsets past the end of a shard must not point into the next one
            offsets += np.where(offsets < file.size, base, self.bytes)
        return keys, np.concatenate([offsets for _, offsets in parts])

    def _frames(self) -> Iterator[Tuple[int, Record]]:
        """Yield offset and record of all intact records, and collect the damage."""
        for base, file in zip(self.bases.tolist(), self._maps.files):
            walk = Walk(file)
            for offset, record in walk:
                yield base + offset, record
            self.damage += [DamagedSpan(base + at, base + end, reason) for at, end, reason in walk.damage]
            self._ends.append(base + walk.end)

    def _report_damage(self) -> None:
        name = shards.pattern(self.rec_path)
        if not self.bytes:
            self._fault("truncated-tail", "the .rec is empty")
        elif not len(self.offsets) and self.damage[0].offset == 0 and self._ends[-1] == self.bytes:
            self._fault("not-recordio", f"{name}: not a RecordIO file ({self.damage[0].reason})")
        else:
            for offset, end, reason in self.damage:
                place = self.place(offset)
                if offset in self._ends:
                    self._fault("truncated-tail", f"{end - offset} bytes from offset {place} are not a whole record")
                else:
                    self._fault("damaged-record", f"{name}: a record at offset {place}: {reason}")

    def _assign(self, index: Optional[Tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """Return the key of each record, and report differences between .idx and .rec."""
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
        shard = np.repeat(np.arange(len(self._lines), dtype=np.uint16), self._lines)
        hit = self.offsets[row] == offsets
        cut = ~hit & (offsets >= np.array(self._ends)[shard])
        self._report_keys_past_the_end(keys[cut])
        damaged = [damage.offset for damage in self.damage]
        lost = np.flatnonzero(~hit & ~cut & ~np.isin(offsets, damaged))
        if 2 * len(lost) > len(keys) - int(cut.sum()):
            self._fault("idx-foreign", f"{len(lost)} of {len(keys)} offsets begin no record")
            return self.own_keys()
        return self._match(keys, offsets, row, hit, lost)

    def _match(self, keys, offsets, row, hit, lost) -> np.ndarray:
        self.sound &= not len(lost)
        self._findings.add_all(
            "idx-offset", lost, lambda i: (int(keys[i]), "no record at offset " + self.place(offsets[i]))
        )
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
        if len(unnamed) > len(lost) + len(shared):  # otherwise wrong offsets, already reported, may explain them all
            self._findings.add_all(
                "unnamed-record", unnamed, lambda i: (None, f"at offset {self.place(int(self.offsets[i]))}")
            )
        self._compare_ids(assigned)
        return assigned

    def _report_keys_past_the_end(self, keys: np.ndarray) -> None:
        if len(keys):
            detail = f"the .idx lists {len(keys)} records past the end of the .rec, {self.bytes} bytes long"
            self._fault("truncated-tail", detail, int(keys[0]))

    def _compare_ids(self, keys: np.ndarray) -> None:
        """Compare the ids in the record headers with the keys, if the ids are distinct."""
        named = np.flatnonzero(keys >= 0)
        ids = self.ids[named]
        if not len(ids) or ids.max() >= 1 << 62 or len(np.unique(ids)) < len(ids):
            return
        # a constant difference, such as keys from 1 and ids from 0, is not a shuffle
        shift = keys[named] - ids.astype(np.int64)
        if len(np.unique(shift)) == 1:
            return
        different = named[shift != 0]
        different = different[np.argsort(keys[different])]
        self._findings.add_all("record-id", different, lambda row: (int(keys[row]), f"the record says {self.ids[row]}"))
