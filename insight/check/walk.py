"""Sequential scan of a .rec that may be damaged, for its intact records and the damaged spans between them.

After damage, the scan resumes at the next frame, which is found by its magic number. RecordIO escapes the magic
number at multiples of 4 bytes inside a record, so at these offsets it always marks a frame.
"""

from __future__ import annotations

import mmap
from typing import Iterator, List, NamedTuple, Optional, Tuple

from ..formats.framing import FIRST, FRAME, LAST, LENGTH_BITS, LENGTH_MASK, MAGIC, MAGIC_BYTES, WHOLE
from ..formats.recordmap import DamagedRecord, Record, RecordMap


class DamagedSpan(NamedTuple):
    """The bytes from ``offset`` to ``end`` of a .rec that are not an intact record, with the reason."""

    offset: int
    end: int
    reason: str


class Walk:
    """Iterates over offset and record of all intact records of a .rec. It can be iterated once.

    Attributes
    ----------
    damage : list of DamagedSpan
        The damaged parts found so far.
    tail : int or None
        Offset of an incomplete record at the end of the file; None if there is none.
    """

    def __init__(self, file: RecordMap):
        self._file = file
        self.damage: List[DamagedSpan] = []
        self.tail: Optional[int] = None

    @property
    def end(self) -> int:
        """Offset of the incomplete record at the end of the file; the size of the file if there is none."""
        return self._file.size if self.tail is None else self.tail

    def __iter__(self) -> Iterator[Tuple[int, Record]]:
        data, size, offset = self._file.data, self._file.size, 0
        while offset < size:
            try:
                record = self._file.read_at(offset)
            except DamagedRecord as error:
                following = _next_frame(data, offset + 1)
                if following >= size and _is_cut(data, offset):
                    self.tail = offset
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


def _end_of_record(data: mmap.mmap, offset: int) -> int:
    """Return the offset after an intact record."""
    while True:
        _, lrec = FRAME.unpack_from(data, offset)
        length = lrec & LENGTH_MASK
        offset += FRAME.size + length + (-length & 3)
        if lrec >> LENGTH_BITS in (WHOLE, LAST):
            return offset


def _frame_inside(data: mmap.mmap, offset: int, end: int) -> Optional[int]:
    """Return the offset of a record inside another, whose length is then wrong; None if there is none.

    The search runs only if no record begins at the end of the outer one, so sound files are not searched.
    """
    if end >= len(data) or data[end : end + len(MAGIC_BYTES)] == MAGIC_BYTES:
        return None
    inside = _next_frame(data, offset + 1)
    return inside if inside < end else None


def _next_frame(data: mmap.mmap, offset: int) -> int:
    """Return the next offset at which a record may begin, or the size of the file.

    Frames begin at multiples of 4 bytes unless bytes were lost or inserted before them. At other offsets, the magic
    number is accepted only if the frame is followed by another one or by the end of the file.
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
