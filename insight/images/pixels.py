"""Decode, turn, scale and encode images. Arrays are uint8 (H, W, 3), RGB unless a name says BGR."""

from __future__ import annotations

from typing import Callable, List, Optional, Tuple

import numpy as np

from ..errors import InsightError
from . import decoding
from .decoding import BGR, RGB, STORED
from .header import exif_orientation, read_jpeg_head

cv2 = decoding.opencv()

OnWarning = Callable[[str], None]


def decode_bgr(data, name: str, on_warning: Optional[OnWarning] = None, checked: bool = False) -> np.ndarray:
    """Decode the bytes of an image as uint8 (H, W, 3), BGR, 0..255.

    Grey images and images with alpha are converted to three channels. The EXIF orientation is not applied: images of
    records are upright, since packing applies it.

    Parameters
    ----------
    data : bytes-like
    name : str
        For messages.
    on_warning : callable, optional
        Called with the decoder's warning if the image is damaged but decodes, such as
        ``Corrupt JPEG data: premature end of data segment``. Nothing is printed.
    checked : bool
        Whether these bytes were decoded without a warning before; see :func:`insight.images.decoding.decode`.

    Raises
    ------
    InsightError
        The bytes are not an image; the message begins with ``name``.
    """
    return _decode(data, BGR, name, on_warning, checked)


def decode_rgb(data, name: str, on_warning: Optional[OnWarning] = None) -> np.ndarray:
    """Like :func:`decode_bgr`, in RGB."""
    return _decode(data, RGB, name, on_warning)


def upright_bgr(data, name: str, on_warning: Optional[OnWarning] = None) -> Tuple[np.ndarray, List[str]]:
    """Decode any image file as uint8 (H, W, 3), BGR, 0..255, upright.

    Grey images are repeated in three channels, 16 bits are scaled to 8, alpha is blended with black (the border of
    an aligned face), CMYK is converted, and the Exif orientation is applied.

    Parameters
    ----------
    data : bytes-like
    name : str
        For messages.
    on_warning : callable, optional
        As for :func:`decode_bgr`.

    Returns
    -------
    pixels : np.ndarray
    changes : list of str
        The conversions that were made: ``grey``, ``alpha``, ``16-bit``, ``cmyk``, ``rotated``.

    Raises
    ------
    InsightError
        The bytes are not an image, or its pixels are neither 8-bit nor 16-bit integers.
    """
    stored = _decode(data, STORED, name, on_warning)
    head = read_jpeg_head(bytes(data))
    changes = []
    if stored.dtype == np.uint16:
        changes.append("16-bit")
        stored = ((stored.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if stored.dtype != np.uint8:
        raise InsightError(f"{name}: pixels are {stored.dtype}, want 8 or 16 bits; convert the file")
    if stored.ndim == 2 or stored.shape[2] == 1:
        changes.append("grey")
        stored = cv2.cvtColor(stored, cv2.COLOR_GRAY2BGR)
    elif stored.shape[2] == 4:
        changes.append("alpha")
        opaque = stored[:, :, 3:].astype(np.uint16)
        stored = ((stored[:, :, :3] * opaque + 127) // 255).astype(np.uint8)
    elif head and head.components == 1:
        changes.append("grey")
    if head and head.components == 4:
        changes.append("cmyk")
    orientation = exif_orientation(bytes(data))
    if orientation != 1:
        changes.append("rotated")
    return turned_upright(stored, orientation), changes


def _decode(data, order: str, name: str, on_warning: Optional[OnWarning], checked: bool = False) -> np.ndarray:
    pixels, warning = decoding.decode(data, order, checked)
    if pixels is None:
        start = bytes(memoryview(data)[:8])
        what = warning or (f"it starts with {start!r}" if start else "it is empty")
        raise InsightError(f"{name}: not a readable image ({what}); remove it or replace it")
    if warning and on_warning is not None:
        on_warning(warning)
    return pixels


def turned_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an Exif orientation of (H, W, 3): 2 mirrored, 3 half turn, 4 flipped, 5 to 8 with the axes swapped."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def fit(pixels: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Scale (H, W, 3) to cover ``size`` (height, width), keeping the aspect ratio, and crop the centre."""
    height, width = size
    have_height, have_width = pixels.shape[:2]
    scale = max(height / have_height, width / have_width)
    new_height, new_width = max(height, round(have_height * scale)), max(width, round(have_width * scale))
    if (new_height, new_width) != (have_height, have_width):
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        pixels = cv2.resize(pixels, (new_width, new_height), interpolation=how)
    top, left = (new_height - height) // 2, (new_width - width) // 2
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def encode_bgr(pixels: np.ndarray, suffix: str = ".jpg", quality: int = 95) -> bytes:
    """Encode uint8 (H, W, 3), BGR, as ``mx.recordio.pack_img`` does.

    ``quality`` is 1..100 for ``.jpg`` and the compression level 0..9 for ``.png``. Raises InsightError if OpenCV
    cannot encode it.
    """
    kind = cv2.IMWRITE_JPEG_QUALITY if suffix == ".jpg" else cv2.IMWRITE_PNG_COMPRESSION
    done, buffer = cv2.imencode(suffix, pixels, [kind, quality])
    if not done:
        raise InsightError(f"OpenCV cannot encode {suffix} of {pixels.shape[1]} x {pixels.shape[0]} pixels")
    return buffer.tobytes()
