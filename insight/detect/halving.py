"""Scaling down without aliasing: halving by area averaging before a bilinear warp.

OpenCV's warps interpolate four source pixels per output pixel, whatever the scale, so most pixels of a large face are
ignored and noise is not averaged out. Once the image is at most twice as large as the result, four pixels are enough.
"""

from __future__ import annotations

from typing import Tuple

import cv2
import numpy as np


def halved(pixels: np.ndarray) -> np.ndarray:
    """Average blocks of 2 x 2 pixels: uint8 (H // 2, W // 2, C). The last row or column of an odd side is left out."""
    height, width = (length // 2 * 2 for length in pixels.shape[:2])
    return cv2.resize(pixels[:height, :width], (width // 2, height // 2), interpolation=cv2.INTER_AREA)


def warp_without_aliasing(pixels: np.ndarray, matrix: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Warp a part of an image, which is first halved until it is at most twice as large as the result.

    Parameters
    ----------
    pixels : np.ndarray
        uint8 (H, W, C), of any size.
    matrix : np.ndarray
        (2, 3) similarity transform from coordinates in ``pixels`` to those in the result.
    size : (int, int)
        (height, width) of the result.

    Returns
    -------
    np.ndarray
        uint8 (height, width, C); black outside the image.
    """
    halvings = max(0, int(np.ceil(-np.log2(np.hypot(*matrix[:, 0])) - 1)))
    unit = 1 << halvings
    left, top, right, bottom = _source_box(matrix, size, pixels.shape, unit)
    part = pixels[top:bottom, left:right]
    if part.size == 0:
        return np.zeros((*size, *pixels.shape[2:]), pixels.dtype)
    below, beside = -part.shape[0] % unit, -part.shape[1] % unit
    if below or beside:
        part = cv2.copyMakeBorder(part, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=0)
    for _ in range(halvings):
        part = halved(part)
    linear = matrix[:, :2] * unit
    corner = np.array([left, top]) + (unit - 1) / 2  # the centre of the part's first pixel, in the image
    moved = np.column_stack([linear, matrix[:, :2] @ corner + matrix[:, 2]])
    return cv2.warpAffine(part, moved, (size[1], size[0]), flags=cv2.INTER_LINEAR, borderValue=0.0)


def _source_box(matrix, size, shape, margin: int) -> Tuple[int, int, int, int]:
    """(left, top, right, bottom) of the part of the image that the result shows, with a margin of two halved pixels."""
    height, width = size
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) - 0.5
    back = np.linalg.solve(matrix[:, :2], (corners - matrix[:, 2]).T)
    low, high = np.floor(back.min(axis=1)) - 2 * margin, np.ceil(back.max(axis=1)) + 1 + 2 * margin
    left, right = (int(np.clip(edge, 0, shape[1])) for edge in (low[0], high[0]))
    top, bottom = (int(np.clip(edge, 0, shape[0])) for edge in (low[1], high[1]))
    return left, top, right, bottom
