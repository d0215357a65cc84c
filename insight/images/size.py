"""Read (height, width) from the headers of less common image formats; JPEG and PNG are in :mod:`.header`.

Sources: Netpbm's manual; BITMAPINFOHEADER and its OS/2 predecessor; the WebP container specification; ISO 15444-1;
TIFF 6.0; OpenCV's ``grfmt_sunras.cpp``.
"""

from __future__ import annotations

import re
import struct
from typing import Callable, Dict, Optional, Tuple

from .kind import HEAD_BYTES, kind_of

Size = Tuple[int, int]
_NETPBM = re.compile(rb"P[1-6](?:\s|#[^\r\n]*[\r\n])+(\d+)(?:\s|#[^\r\n]*[\r\n])+(\d+)")
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257


def other_size(data: bytes) -> Optional[Size]:
    """(height, width) in pixels of an image that is neither JPEG nor PNG; None if they cannot be read."""
    kind = kind_of(data[:HEAD_BYTES])
    read = _READERS.get(kind.suffix) if kind else None
    try:
        size = read(data) if read else None
    except (struct.error, AttributeError):  # the header is truncated
        return None
    return size if size and min(size) > 0 else None


def _netpbm(data: bytes) -> Size:
    width, height = _NETPBM.match(data[:HEAD_BYTES]).groups()  # type: ignore[union-attr]
    return int(height), int(width)


def _pam(data: bytes) -> Size:
    head = data[:HEAD_BYTES]
    height, width = (re.search(rb"\n" + word + rb"\s+(\d+)", head).group(1) for word in (b"HEIGHT", b"WIDTH"))
    return int(height), int(width)


def _bmp(data: bytes) -> Size:
    old = data[14] == 12
    width, height = struct.unpack_from("<HH" if old else "<ii", data, 18)
    return abs(height), width  # the height is negative if rows are stored from the top


def _webp(data: bytes) -> Optional[Size]:
    chunk = data[12:16]
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if chunk == b"VP8X":
        low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", data, 24)
        return (high_height << 16 | low_height) + 1, (high_width << 16 | low_width) + 1
    return None


def _jp2(data: bytes) -> Size:
    return struct.unpack_from(">II", data, data.index(b"ihdr") + 4) if b"ihdr" in data[:HEAD_BYTES] else (0, 0)


def _j2k(data: bytes) -> Size:
    right, bottom, left, top = struct.unpack_from(">IIII", data, 8)
    return bottom - top, right - left


def _sun_raster(data: bytes) -> Size:
    width, height = struct.unpack_from(">II", data, 4)
    return height, width


def _tiff(data: bytes) -> Optional[Size]:
    order = "<" if data[:2] == b"II" else ">"
    if struct.unpack_from(order + "H", data, 2)[0] != 42:  # BigTIFF
        return None
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    tags = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        (tags[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)
    return tags.get(_TIFF_HEIGHT, 0), tags.get(_TIFF_WIDTH, 0)


_READERS: Dict[str, Callable[[bytes], Optional[Size]]] = {
    ".pbm": _netpbm,
    ".pgm": _netpbm,
    ".ppm": _netpbm,
    ".pam": _pam,
    ".bmp": _bmp,
    ".webp": _webp,
    ".jp2": _jp2,
    ".j2k": _j2k,
    ".ras": _sun_raster,
    ".tif": _tiff,
}
