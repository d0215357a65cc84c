"""RecordIO frames and image-record headers: the bytes of a .rec file, without NumPy.

A frame is ``magic, lrec, data, zeros up to a multiple of 4``; ``lrec`` holds a part flag in its
upper 3 bits and the length of the data in the lower 29. Data that contains the magic at a
multiple of 4 is split there into parts (flags 1, 2, .., 2, 3) without the magic, and the reader inserts it again.
The data of an image record is ``flag u32, label f32, id u64, id2 u64``, then, if flag > 0,
``flag`` float32 labels, then the payload; little-endian throughout. ``id2`` is 0, unless float32 may round
the label (or the first of several): then ``id2`` is the exact integer, see :func:`exact_first`.

Source: dmlc-core ``include/dmlc/recordio.h`` and ``mxnet/recordio.py`` of MXNet 1.9.1.
"""

from __future__ import annotations

import struct
from typing import Sequence, Union

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack("<I", MAGIC)
LENGTH_BITS = 29
LENGTH_MASK = (1 << LENGTH_BITS) - 1
WHOLE, FIRST, MIDDLE, LAST = range(4)  # part flags
EXACT_FLOAT32 = 1 << 24  # integers up to here are exact in float32, the type of labels and ranges
LARGEST_LABEL = (1 << 31) - 1  # labels of a set are an int32 array

FRAME = struct.Struct("<II")
HEADER = struct.Struct("<IfQQ")
FLOAT32 = struct.Struct("<f")
COPIED_FRAME = struct.Struct("<IIIfQQ")  # frame and header with a scalar label
INDEXED_FRAME = struct.Struct("<IIIfQQff")  # frame, header and a label of two numbers
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")

Labels = Union[float, Sequence[float]]


def record_data(payload: bytes, label: Labels, id: int = 0, id2: int = 0) -> bytes:
    """Header, labels and payload of one record as bytes, as ``mx.recordio.pack`` returns them.

    A single number is written into the header, with flag 0. A sequence is written after the header, and the flag is
    its length. The flag has no other meaning.
    """
    if isinstance(label, (int, float)):
        return HEADER.pack(0, label, id, id2) + payload
    return HEADER.pack(len(label), 0.0, id, id2) + struct.pack(f"<{len(label)}f", *label) + payload


def id2_of(first: int) -> int:
    """``id2`` for a label, or the first of several: the label if it is above 2^24, else 0 as other tools write."""
    return first if first > EXACT_FLOAT32 else 0


def exact_first(stored: float, id2: int) -> float:
    """The exact label of a record, or the first of several: ``id2`` if it rounds to ``stored``, else ``stored``."""
    if stored >= EXACT_FLOAT32 and FLOAT32.unpack(FLOAT32.pack(id2))[0] == stored:
        return id2
    return stored


def frame(data: bytes) -> bytes:
    """Frame the data of a record for a .rec file, in parts if it contains the magic.

    Raises
    ------
    ValueError
        The data has 2^29 bytes or more, which a frame cannot hold.
    """
    length = len(data)
    if length > LENGTH_MASK:
        raise ValueError(f"a record holds at most {LENGTH_MASK} bytes, this one has {length}")
    if MAGIC_BYTES in data:
        return _frame_in_parts(data)
    return FRAME.pack(MAGIC, length) + data + _PADDING[length & 3]


def _frame_in_parts(data: bytes) -> bytes:
    out = []
    begin = 0
    at = data.find(MAGIC_BYTES)
    while at >= 0:
        if at & 3:
            at = data.find(MAGIC_BYTES, at + 1)
            continue
        part = FIRST if begin == 0 else MIDDLE
        out += FRAME.pack(MAGIC, part << LENGTH_BITS | at - begin), data[begin:at]
        begin = at + 4
        at = data.find(MAGIC_BYTES, begin)
    part = LAST if begin else WHOLE
    out += FRAME.pack(MAGIC, part << LENGTH_BITS | len(data) - begin), data[begin:], _PADDING[len(data) & 3]
    return b"".join(out)
