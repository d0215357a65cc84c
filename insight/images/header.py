"""Headers of image files: size, channels, orientation. No decoding.

Packing must know whether a file can be copied into a record as it is. Decoding the file would take twenty times
as long as reading it, so only its header is parsed, in plain Python.

Sources: ITU-T T.81 (JPEG markers), CIPA DC-008 (Exif orientation), PNG specification 1.2.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Optional, Tuple

from .kind import HEAD_BYTES, kind_of
from .size import other_size

_STANDALONE = frozenset([0x01, *range(0xD0, 0xD8)])  # TEM, RST0..7: markers without a length
_DECODABLE_SOF = frozenset([0xC0, 0xC1, 0xC2])  # baseline, extended, progressive Huffman
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SOS, _EOI, _APP1 = 0xDA, 0xD9, 0xE1
_ORIENTATION_TAG, _SHORT = 0x0112, 3
_PNG_RGB = 2
_PNG = b"\x89PNG\r\n\x1a\n"


class JpegHead(NamedTuple):
    """Properties of a JPEG, read from its markers.

    ``plain`` means that every common decoder returns H x W x 3, upright: the image has 8 bits, three components,
    a Huffman-coded frame, no Exif rotation, and an end marker.
    """

    height: int
    width: int
    components: int
    orientation: int  # Exif 1..8; 1 is upright
    complete: bool  # there is an end marker after the scan
    plain: bool


def read_jpeg_head(data: bytes) -> Optional[JpegHead]:
    """Read the markers of a JPEG up to its first scan; None if they are not valid."""
    if data[:3] != b"\xff\xd8\xff":
        return None
    at, end = 2, len(data)
    height = width = components = 0
    orientation, decodable = 1, False
    while at + 4 <= end and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _STANDALONE:
            at += 2
            continue
        if marker == _EOI:
            return None
        length = data[at + 2] << 8 | data[at + 3]
        if length < 2 or at + 2 + length > end:
            return None
        if marker in _SOF:
            if length < 8:
                return None
            bits, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
            decodable = marker in _DECODABLE_SOF and bits == 8
        elif marker == _SOS:
            if not (height and width and components):
                return None
            complete = data.endswith(b"\xff\xd9") or data.rfind(b"\xff\xd9", at) >= 0
            plain = decodable and complete and components == 3 and orientation == 1
            return JpegHead(height, width, components, orientation, complete, plain)
        elif marker == _APP1 and data[at + 4 : at + 10] == b"Exif\0\0":
            orientation = tiff_orientation(data[at + 10 : at + 2 + length])
        at += 2 + length
    return None


def header_length(data: bytes) -> int:
    """The number of bytes of a JPEG before the data of its first scan; 0 if it has none."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _STANDALONE:
            at += 2
        else:
            at += 2 + (data[at + 2] << 8 | data[at + 3])
            if marker == _SOS:
                return at
    return 0


def tiff_orientation(tiff: bytes) -> int:
    """The orientation tag (1..8) of the TIFF part of an Exif block; 1 if there is none or it is invalid."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 1
    (directory,) = struct.unpack_from(order + "I", tiff, 4)
    if directory + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(order + "H", tiff, directory)
    for entry in range(directory + 2, min(directory + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind = struct.unpack_from(order + "HH", tiff, entry)
        if tag == _ORIENTATION_TAG and kind == _SHORT:
            (value,) = struct.unpack_from(order + "H", tiff, entry + 8)
            return value if 1 <= value <= 8 else 1
    return 1


def exif_orientation(data: bytes) -> int:
    """The Exif orientation (1..8) of a JPEG, PNG or WebP file; 1 if there is none."""
    if data[:2] == b"\xff\xd8":
        head = read_jpeg_head(data)
        return head.orientation if head else 1
    if data[:8] == _PNG:
        return _chunk_orientation(data, 8, ">I4s", b"eXIf", 4)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _chunk_orientation(data, 12, "<4sI", b"EXIF", 0)
    return 1


def _chunk_orientation(data: bytes, at: int, layout: str, wanted: bytes, checksum: int) -> int:
    while at + 8 <= len(data):
        first, second = struct.unpack_from(layout, data, at)
        length, name = (first, second) if isinstance(first, int) else (second, first)
        if name == wanted:
            block = data[at + 8 : at + 8 + length]
            return tiff_orientation(block[6:] if block[:6] == b"Exif\0\0" else block)
        at += 8 + length + checksum
        if not checksum:
            at += length & 1  # RIFF chunks are padded to even lengths
    return 1


def is_plain_png(data: bytes, size: Tuple[int, int]) -> bool:
    """Whether a PNG is 8-bit RGB, complete, upright, without transparency, and of ``size`` (height, width)."""
    if data[:8] != _PNG or data[12:16] != b"IHDR" or len(data) < 45 or data[-8:-4] != b"IEND":
        return False
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    plain = (height, width) == size and depth == 8 and colour == _PNG_RGB and b"tRNS" not in data
    return plain and exif_orientation(data) == 1


def image_size(data: bytes) -> Optional[tuple[int, int]]:
    """(height, width) of an encoded image in pixels, from its header; None if they cannot be read."""
    if data[:8] == _PNG and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
        return height, width
    head = read_jpeg_head(bytes(data))
    return (head.height, head.width) if head else other_size(bytes(data))


def suffix_of(data: bytes) -> str:
    """The file suffix for the kind of an image: ``.jpg``, ``.pgm``, ``.tif``, …; ``.bin`` if it is unknown."""
    kind = kind_of(bytes(data[:HEAD_BYTES]))
    return kind.suffix if kind else ".bin"
