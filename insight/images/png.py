"""Check a PNG file without decoding it: its chunks, their checksums, and the compressed pixels.

libpng prints its warnings on the terminal, and OpenCV does not return them. For a file that passes these
checks, libpng prints nothing.

Source: PNG specification 1.2, chapters 2 (filters), 3 (chunks) and 4 (IHDR).
"""

from __future__ import annotations

import struct
import zlib
from typing import Iterator, NamedTuple, Optional, Tuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # by colour type; 3, a palette, is left to the decoder
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 4: (8, 16), 6: (8, 16)}
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
_PIXELS = (b"IHDR", b"IDAT", b"IEND")  # chunks that determine the pixels of a file without a palette
_MOST_FILTERS = 4
_MOST_BYTES = 1 << 28  # of uncompressed pixels; larger images are left to the decoder, which has its own limits


class _Chunk(NamedTuple):
    name: bytes
    begin: int  # offset of the chunk, with its length
    end: int


def without_extras(data: bytes, inflate: bool = True) -> Optional[bytes]:
    """Remove all chunks that do not affect the pixels; None if the file may be damaged.

    Parameters
    ----------
    data : bytes
        A PNG file.
    inflate : bool
        Whether to check the compressed pixels too, which takes a third of the time of decoding them.

    Returns
    -------
    bytes or None
        The file with the remaining chunks; ``data`` itself if there are no others. None for a damaged file, and for
        kinds that are not checked (palettes, transparent colours, animations).
    """
    chunks = list(_chunks(data))
    if not chunks or chunks[0].name != b"IHDR" or chunks[-1].name != b"IEND":
        return None
    names = [chunk.name for chunk in chunks]
    if names.count(b"IHDR") != 1 or b"IDAT" not in names or any(_matters(name) for name in names):
        return None
    pixels = [chunk for chunk in chunks if chunk.name in _PIXELS]
    first, last = names.index(b"IDAT"), len(names) - 1 - names[::-1].index(b"IDAT")
    if set(names[first : last + 1]) != {b"IDAT"} or (inflate and not _inflates(data, chunks)):
        return None
    if len(pixels) == len(chunks) and chunks[-1].end == len(data):
        return data
    return SIGNATURE + b"".join(data[chunk.begin : chunk.end] for chunk in pixels)


def _matters(name: bytes) -> bool:
    """Whether a chunk other than IHDR, IDAT and IEND may affect the pixels."""
    critical = not name[0] & 0x20
    return (critical and name not in _PIXELS) or name in (b"tRNS", b"acTL", b"fcTL", b"fdAT")


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """Yield the chunks up to IEND, or up to the first wrong checksum."""
    view = memoryview(data)
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        length = int.from_bytes(view[at : at + 4], "big")
        end = at + 12 + length
        if end > len(data) or zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            return
        name = bytes(view[at + 4 : at + 8])
        if not name.isalpha():
            return
        yield _Chunk(name, at, end)
        if name == b"IEND":
            return
        at = end


def _inflates(data: bytes, chunks: list) -> bool:
    """Whether the compressed pixels are a complete stream of the right length, with valid filters."""
    if chunks[0].end - chunks[0].begin != 25:
        return False
    width, height, depth, colour, method, filters, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    if depth not in _DEPTHS.get(colour, ()) or method or filters or interlaced > 1 or not width or not height:
        return False
    passes = list(_passes(width, height, depth * _CHANNELS[colour], interlaced))
    size = sum(rows * stride for rows, stride in passes)
    if size > _MOST_BYTES:
        return False
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(b"".join(data[c.begin + 8 : c.end - 4] for c in chunks if c.name == b"IDAT"), size + 1)
    except zlib.error:
        return False
    if len(raw) != size or not stream.eof or stream.unused_data:
        return False
    at = 0
    for rows, stride in passes:
        if max(raw[at : at + rows * stride : stride]) > _MOST_FILTERS:
            return False
        at += rows * stride
    return True


def _passes(width: int, height: int, bits: int, interlaced: int) -> Iterator[Tuple[int, int]]:
    """Yield, for each interlacing pass, the number of rows and the bytes per row, with the filter byte."""
    for top, left, down, right in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        rows, columns = -(-(height - top) // down), -(-(width - left) // right)
        if rows > 0 and columns > 0:
            yield rows, 1 + (columns * bits + 7) // 8
