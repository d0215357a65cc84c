"""Decode images to pixels, and return the decoders' warnings about damaged data.

A damaged image often decodes: the decoder fills the missing part with grey or noise, and warns. OpenCV
prints such warnings and does not return them, so each format is decoded in a way that detects them:

- JPEG: with ``simplejpeg`` (libjpeg-turbo), which gives the same pixels and warnings as OpenCV's decoder. An image
  with a warning is decoded again with OpenCV, with captured stderr: whether it is usable, and its pixels, are then
  as in other readers of records.
- PNG: with OpenCV. Checksums and compressed pixels are checked first; if they are wrong, stderr is captured.
- WebP: with OpenCV, whose decoder prints nothing and rejects damaged files.
- Other formats: with OpenCV, with captured stderr.

Warnings are the texts of libjpeg (``jerror.h``) and libpng. Nothing is printed on the terminal.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

import numpy as np
from simplejpeg import decode_jpeg, decode_jpeg_header

from . import png as pngfile
from .decoder_stderr import capture

BGR, RGB, STORED = "BGR", "RGB", "stored"
_JPEG, _PNG, _RIFF, _WEBP = b"\xff\xd8\xff", pngfile.SIGNATURE, b"RIFF", b"WEBP"
_MOST_PIXELS = 1 << 30  # OpenCV's limit: a damaged header must not allocate all memory
_CUT = "Premature end of JPEG file"
# libpng's warnings about chunks that do not affect pixels, such as an invalid colour profile: not damage, unless a
# checksum is wrong.
_HARMLESS = re.compile(r"(?:libpng warning: )?[a-z][A-Za-z]{3}: (?!CRC error)")
# Prefixes of messages; OpenCV's log has a time and a line number.
_PREFIX = re.compile(r"libpng (?:warning|error): |\[ ?\w+:\d+@[\d.]+\] global \S+ \w+ |imdecode_\('.*?'\): ")


class Decoded(NamedTuple):
    """The pixels, None if the image cannot be decoded, and the decoder's warning or error, "" if there is none."""

    pixels: Optional[np.ndarray]
    warning: str


def decode(data, order: str = BGR, checked: bool = False) -> Decoded:
    """Decode an image without printing anything.

    Parameters
    ----------
    data : bytes-like
    order : str
        ``BGR`` or ``RGB``: uint8 (H, W, 3). ``stored``: the result of :data:`cv2.IMREAD_UNCHANGED`, which may have
        1, 2 or 4 channels and other types; JPEGs are BGR. EXIF orientation is not applied.
    checked : bool
        Whether these bytes were decoded without a warning before; some checks are then skipped.
    """
    if len(data) > 2 and data[0] == 0xFF and data[1] == 0xD8 and data[2] == 0xFF:
        return _jpeg(data, order, checked)
    start = bytes(memoryview(data)[:12])
    if start[:8] == _PNG:
        sound = pngfile.without_extras(bytes(data), not checked)
        return _captured(data, order) if sound is None else Decoded(_opencv(sound, order), "")
    if start[:4] == _RIFF and start[8:] == _WEBP:
        return Decoded(_opencv(data, order), "")
    return _captured(data, order) if start else Decoded(None, "")


def quick_warning(data) -> str:
    """The decoder's warning or error for an image, "" if there is none; twice as fast as :func:`decode` for a JPEG.

    A JPEG is decoded to grey at 1/8 of its size: all of its data is read, and few pixels are computed.
    """
    if bytes(memoryview(data)[:3]) != _JPEG:
        return decode(data).warning
    try:
        decode_jpeg(data, "GRAY", True, True, 1, 1)
    except ValueError as error:
        return decode(data).warning if _is_unsupported(error) else str(error)
    return ""


def reduced_jpeg(data, denominator: int) -> Optional[np.ndarray]:
    """Decode a JPEG at a fraction of its size, which takes a fraction of the time and memory.

    Parameters
    ----------
    data : bytes-like
    denominator : int
        1, 2, 4 or 8. Row or column k of the result covers ``denominator`` of the image, from ``denominator * k`` on;
        the last one may extend beyond the edge.

    Returns
    -------
    np.ndarray or None
        RGB uint8, height and width divided by the denominator, rounded up; EXIF orientation is not applied. None if
        the data is not a JPEG that TurboJPEG decodes to RGB without a warning, which :func:`decode` returns.
    """
    try:
        height, width, _, _ = decode_jpeg_header(data)
        return decode_jpeg(data, RGB, min_height=-(-height // denominator), min_width=-(-width // denominator))
    except ValueError:
        return None


def opencv():
    """The module cv2, imported on demand: sound JPEGs do not need it, and it doubles the import time."""
    import cv2

    cv2.setNumThreads(0)  # images are decoded in our threads; OpenCV's own pool would slow them down
    return cv2


def _jpeg(data, order: str, checked: bool) -> Decoded:
    colours = RGB if order == RGB else BGR
    try:
        if not checked and _is_enormous(data):
            return _captured(data, order)
        return Decoded(decode_jpeg(data, colours), "")
    except ValueError as error:
        if _is_unsupported(error):
            return _captured(data, order)
        warning = str(error)
    pixels, printed = _captured(data, order)
    if pixels is not None and warning == _CUT and not printed and not _same(pixels, data, colours):
        pixels = None  # OpenCV before 4.11 returns uninitialised rows
    return Decoded(pixels, printed or warning)


def _is_enormous(data) -> bool:
    height, width, _, _ = decode_jpeg_header(data)
    return height * width > _MOST_PIXELS


def _is_unsupported(error: ValueError) -> bool:
    """Whether TurboJPEG does not support this kind of JPEG; its own messages begin with its function names."""
    return str(error).startswith("tj")


def _same(pixels: np.ndarray, data, colours: str) -> bool:
    """Whether TurboJPEG, which fills missing rows with grey, gives the same pixels."""
    try:
        return np.array_equal(decode_jpeg(data, colours, buffer=np.zeros(pixels.size, np.uint8), strict=False), pixels)
    except ValueError:
        return False


def _captured(data, order: str) -> Decoded:
    pixels, lines = capture(lambda: _opencv(data, order))
    warnings = [_PREFIX.sub("", line) for line in lines if not _HARMLESS.match(line)]
    return Decoded(pixels, warnings[0] if warnings else "")


def _opencv(data, order: str) -> Optional[np.ndarray]:
    cv2 = opencv()
    how = cv2.IMREAD_UNCHANGED if order == STORED else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error:  # sides beyond OpenCV's limit
        return None
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if order == RGB and pixels is not None else pixels
