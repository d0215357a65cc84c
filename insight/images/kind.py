"""Recognise the kind of a file by its first bytes: images that OpenCV decodes, and other kinds.

``decoded`` marks formats that ``cv2.imdecode``, of the releases that setup.py allows, decodes to 8 or 16 bits.
Floating-point formats are excluded, since the range of their values is unknown and networks take 0..255.

Sources: OpenCV 4.x ``modules/imgcodecs`` (signatures), Netpbm's manual, ISO 14496-12 (brands), Wikipedia's
"List of file signatures".
"""

from __future__ import annotations

import os
import re
from typing import List, NamedTuple, Optional, Tuple

HEAD_BYTES = 4096  # in Netpbm and SVG, comments may precede the part that distinguishes them from text


class Kind(NamedTuple):
    """A kind of file: its name in messages, its suffix, and whether OpenCV decodes it."""

    name: str
    suffix: str
    decoded: bool = True
    image: bool = True


JPEG = Kind("JPEG", ".jpg")
PNG = Kind("PNG", ".png")
BMP = Kind("BMP", ".bmp")
WEBP = Kind("WebP", ".webp")
TIFF = Kind("TIFF", ".tif")
RAW = Kind("camera RAW", ".raw", False)
# A TIFF under one of these suffixes is a camera's raw file: OpenCV would decode its thumbnail.
_RAW_SUFFIXES = frozenset([".dng", ".nef", ".nrw", ".arw", ".sr2", ".srf", ".pef", ".srw", ".erf", ".3fr", ".iiq"])
_HEIC = Kind("HEIC", ".heic", False)
_VIDEO = Kind("video", ".mp4", False, False)

_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"  # between Netpbm's numbers: blanks and comments


def _netpbm(magics: bytes, numbers: int) -> bytes:
    first = rb"P[" + magics + rb"]\s(?:" + _GAP + rb")?\d+"
    return first + (_GAP + rb"\d+") * (numbers - 1)


# The first match is used.
_SIGNATURES: List[Tuple[Kind, bytes]] = [
    (JPEG, rb"\xff\xd8\xff"),
    (PNG, rb"\x89PNG\r\n\x1a\n"),
    (WEBP, rb"RIFF....WEBP"),
    (BMP, rb"BM.{12}[\x0c\x24-\xff]\0\0\0"),  # with the length of the header, since text may begin with BM
    (RAW, rb"II\*\0....CR"),  # Canon's CR2 is a TIFF
    (TIFF, rb"II[*+]\0|MM\0[*+]"),
    (Kind("JPEG 2000", ".jp2"), rb"\0\0\0\x0cjP  \r\n\x87\n"),
    (Kind("JPEG 2000", ".j2k"), rb"\xff\x4f\xff\x51"),
    (Kind("PBM", ".pbm"), _netpbm(b"14", 2)),
    (Kind("PGM", ".pgm"), _netpbm(b"25", 3)),
    (Kind("PPM", ".ppm"), _netpbm(b"36", 3)),
    (Kind("PAM", ".pam"), rb"P7\n(?:#[^\n]*\n|\s)*(?:WIDTH|HEIGHT|DEPTH|MAXVAL|TUPLTYPE)\s"),
    (Kind("Sun raster", ".ras"), rb"\x59\xa6\x6a\x95"),
    (Kind("GIF", ".gif", False), rb"GIF8[79]a"),
    (Kind("AVIF", ".avif", False), rb".{4}ftyp(?:avi[fs]|mif1.{4}(?:.{4}){0,8}?avi[fs])"),
    (_HEIC, rb".{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)"),
    (Kind("JPEG XL", ".jxl", False), rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"),
    (Kind("JPEG XR", ".jxr", False), rb"II\xbc[\0\1]"),
    (RAW, rb".{4}ftypcrx |FUJIFILMCCD-RAW|IIR[OS]|MMOR|IIU\0|FOVb|\0MRM|II\x1a\0\0\0HEAPCCDR"),
    (Kind("Photoshop", ".psd", False), rb"8BPS\0[\1\2]"),
    (Kind("GIMP", ".xcf", False), rb"gimp xcf "),
    (Kind("OpenEXR", ".exr", False), rb"\x76\x2f\x31\x01"),
    (Kind("Radiance HDR", ".hdr", False), rb"#\?RADIANCE|#\?RGBE"),
    (Kind("PFM", ".pfm", False), rb"P[Ff]\s+\d+\s+\d+\s+-?[\d.]"),
    (Kind("SVG", ".svg", False), rb"(?:\xef\xbb\xbf)?\s*(?:<[?!][^>]*>\s*)*<svg[\s>]"),
    (Kind("icon", ".ico", False), rb"\0\0[\1\2]\0[^\0]\0.{3}\0"),
    (Kind("DICOM", ".dcm", False), rb".{128}DICM"),
    (Kind("DDS", ".dds", False), rb"DDS \x7c\0\0\0"),
    (Kind("PDF", ".pdf", False, False), rb"%PDF-"),
    (Kind("PostScript", ".eps", False, False), rb"%!PS|\xc5\xd0\xd3\xc6"),
    (_VIDEO, rb".{4}(?:ftyp|moov|mdat)"),
    (_VIDEO._replace(suffix=".avi"), rb"RIFF....AVI "),
    (_VIDEO._replace(suffix=".mkv"), rb"\x1a\x45\xdf\xa3"),
    (_VIDEO._replace(suffix=".mpg"), rb"\0\0\x01[\xba\xb3]|\x47.{187}\x47.{187}\x47"),
    (_VIDEO._replace(suffix=".wmv"), rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    (_VIDEO._replace(suffix=".flv"), rb"FLV\x01"),
    (_VIDEO._replace(suffix=".ogv"), rb"OggS"),
]
_COMPILED = [(kind, re.compile(pattern, re.DOTALL).match) for kind, pattern in _SIGNATURES]
KINDS = tuple(kind for kind, _ in _SIGNATURES)
DECODED_SUFFIXES = frozenset(kind.suffix for kind in KINDS if kind.decoded)


def kind_of(head: bytes) -> Optional[Kind]:
    """The kind of a file by its first HEAD_BYTES bytes (all, if it is shorter); None if it is unknown."""
    for kind, match in _COMPILED:
        if match(head):
            return kind
    return None


def kind_of_file(name: str, head: bytes) -> Optional[Kind]:
    """As :func:`kind_of`, but a TIFF is :data:`RAW` if its name has the suffix of a camera raw file."""
    kind = kind_of(head)
    return RAW if kind is TIFF and os.path.splitext(name)[1].lower() in _RAW_SUFFIXES else kind
