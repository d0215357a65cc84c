"""Encoded images -> pixels, and what the decoder reports of the bytes.

A damaged picture often decodes: the decoder puts grey or noise where it lost its way, and reports so.
Which decoder reads what, and how its reports are had:

- JPEG by ``simplejpeg`` (libjpeg-turbo), which gives the report and the pixels of OpenCV's decoder bit for
  bit. Whatever it reports on is decoded again by OpenCV, overheard: whether such a picture is usable,
  and with which pixels, is OpenCV's decision, as in every reader of records.
- PNG by OpenCV, without the chunks that libpng may complain of, where checksums and compressed pixels are sound;
  else overheard.
- WebP by OpenCV; its decoder prints nothing, and refuses what is damaged.
- Everything else by OpenCV, overheard.

Reports are the decoders' own words (libjpeg's ``jerror.h``, libpng's messages).
"""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

import numpy as np
from simplejpeg import decode_jpeg, decode_jpeg_header

from .formats import pngfile
from .overhear import overhear

BGR, RGB, STORED = "BGR", "RGB", "stored"
_JPEG, _PNG, _RIFF, _WEBP = b"\xff\xd8\xff", pngfile.SIGNATURE, b"RIFF", b"WEBP"
_MOST_PIXELS = 1 << 30  # OpenCV's limit: a damaged header must not ask for all memory
_CUT = "Premature end of JPEG file"
# libpng on chunks beside the pixels: their content is of no account here, unless a checksum says that it is damaged
_HARMLESS = re.compile(r"(?:libpng warning: )?[a-z][A-Za-z]{3}: (?!CRC error)")
# what stands before the words themselves: OpenCV's log has a clock and a line number there
_PREFIX = re.compile(r"libpng (?:warning|error): |\[ ?\w+:\d+@[\d.]+\] global \S+ \w+ |imdecode_\('.*?'\): ")


class Decoded(NamedTuple):
    """uint8 or other pixels (H, W, 3) or as stored, None where there are none; and the decoder's words or ""."""

    pixels: Optional[np.ndarray]
    report: str


def decode(data, order: str = BGR, checked: bool = False) -> Decoded:
    """Decode an image; nothing is printed.

    Parameters
    ----------
    data : bytes-like
    order : str
        ``BGR`` or ``RGB``: uint8 (H, W, 3). ``stored``: as :data:`cv2.IMREAD_UNCHANGED` gives it, which may have
        1, 2 or 4 channels and other types; JPEGs are BGR all the same. EXIF orientation is not applied.
    checked : bool
        These bytes have been decoded before without a report: some checks need not be made a second time.
    """
    if len(data) > 2 and data[0] == 0xFF and data[1] == 0xD8 and data[2] == 0xFF:
        return _jpeg(data, order, checked)
    start = bytes(memoryview(data)[:12])
    if start[:8] == _PNG:
        sound = pngfile.without_extras(bytes(data), not checked)
        return _overheard(data, order) if sound is None else Decoded(_opencv(sound, order), "")
    if start[:4] == _RIFF and start[8:] == _WEBP:
        return Decoded(_opencv(data, order), "")
    return _overheard(data, order) if start else Decoded(None, "")


def complaint(data) -> str:
    """What the decoder reports of an image first or last, "" where nothing; quicker than :func:`decode`.

    A JPEG is decoded at an eighth of its size in grey: all of its data is read, and little is computed.
    """
    if bytes(memoryview(data)[:3]) != _JPEG:
        return decode(data).report
    try:
        decode_jpeg(data, "GRAY", True, True, 1, 1)
    except ValueError as error:
        return decode(data).report if _is_unsupported(error) else str(error)
    return ""


def opencv():
    """The module cv2, loaded when it is needed: sound JPEGs do without, and it takes as long as the rest."""
    import cv2

    cv2.setNumThreads(0)  # our loaders hand one image to one thread; OpenCV's own pool only gets in their way
    return cv2


def _jpeg(data, order: str, checked: bool) -> Decoded:
    colours = RGB if order == RGB else BGR
    try:
        if not checked and _is_enormous(data):
            return _overheard(data, order)
        return Decoded(decode_jpeg(data, colours), "")
    except ValueError as error:
        if _is_unsupported(error):
            return _overheard(data, order)
        report = str(error)
    pixels, printed = _overheard(data, order)
    if pixels is not None and report == _CUT and not printed and not _same(pixels, data, colours):
        pixels = None  # OpenCV before 4.11 hands out rows that it never wrote
    return Decoded(pixels, printed or report)


def _is_enormous(data) -> bool:
    height, width, _, _ = decode_jpeg_header(data)
    return height * width > _MOST_PIXELS


def _is_unsupported(error: ValueError) -> bool:
    """Whether TurboJPEG speaks for itself, of a kind of JPEG that it does not know; other words are libjpeg's."""
    return str(error).startswith("tj")


def _same(pixels: np.ndarray, data, colours: str) -> bool:
    """Whether the decoder that fills missing rows with grey gives these pixels."""
    try:
        return np.array_equal(decode_jpeg(data, colours, buffer=np.zeros(pixels.size, np.uint8), strict=False), pixels)
    except ValueError:
        return False


def _overheard(data, order: str) -> Decoded:
    pixels, lines = overhear(lambda: _opencv(data, order))
    reports = [_PREFIX.sub("", line) for line in lines if not _HARMLESS.match(line)]
    return Decoded(pixels, reports[0] if reports else "")


def _opencv(data, order: str) -> Optional[np.ndarray]:
    cv2 = opencv()
    how = cv2.IMREAD_UNCHANGED if order == STORED else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error:  # sides beyond OpenCV's limit
        return None
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if order == RGB and pixels is not None else pixels
