"""Bytes <-> pixels. Arrays are uint8, (H, W, 3), RGB unless a name says BGR."""

from __future__ import annotations

import cv2
import numpy as np

from .errors import InsightError

cv2.setNumThreads(0)  # our loaders hand one image to one thread; OpenCV's own pool only gets in their way


def decode_bgr(data, name: str) -> np.ndarray:
    """Decode JPEG, PNG, BMP or WebP bytes as uint8 (H, W, 3), BGR, as OpenCV keeps it.

    Grey and alpha images become three channels; EXIF orientation is not applied (records
    hold aligned faces; packing applies it once).

    Raises
    ------
    InsightError
        The bytes are no image; ``name`` says which.
    """
    buffer = np.frombuffer(data, dtype=np.uint8)
    pixels = cv2.imdecode(buffer, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if buffer.size else None
    if pixels is None:
        what = "it is empty" if not buffer.size else f"it starts with {bytes(buffer[:8])!r}"
        raise InsightError(f"{name}: not a readable image ({what}); remove it or replace it")
    return pixels


def decode_rgb(data, name: str) -> np.ndarray:
    """As :func:`decode_bgr`, in RGB."""
    return cv2.cvtColor(decode_bgr(data, name), cv2.COLOR_BGR2RGB)
