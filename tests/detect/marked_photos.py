"""Photos with a red, a green and a blue spot, whose positions tell how a photo was scaled, turned or mirrored."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image

SPOTS = np.array([[0.2, 0.25], [0.7, 0.3], [0.35, 0.8]])  # red, green, blue: x, y as parts of the sides
EXIF_ORIENTATION = 0x0112


def positions(size) -> np.ndarray:
    """(3, 2) x, y of the spots' centres in a photo of (width, height)."""
    return SPOTS * size - 0.5


def spotted(size, sigma: float = 0.0) -> np.ndarray:
    """uint8 (H, W, 3), RGB."""
    width, height = size
    sigma = sigma or min(size) / 30
    pixels = np.zeros((height, width, 3))
    for channel, (x, y) in enumerate(positions(size)):
        across = np.exp(-((np.arange(width) - x) ** 2) / (2 * sigma**2))
        down = np.exp(-((np.arange(height) - y) ** 2) / (2 * sigma**2))
        pixels[:, :, channel] = 250 * np.outer(down, across)
    return np.rint(pixels).astype(np.uint8)


def measured(pixels: np.ndarray) -> np.ndarray:
    """(3, 2) x, y of the spots in pixels."""
    weights = np.clip(pixels.astype(np.float64) - 40, 0, None)
    x, y = np.arange(pixels.shape[1]), np.arange(pixels.shape[0])
    totals = weights.sum(axis=(0, 1))
    return np.stack([weights.sum(axis=0).T @ x / totals, weights.sum(axis=1).T @ y / totals], axis=1)


def stored_for(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels that a file of that EXIF orientation holds, so that it shows ``pixels``: by Pillow's own table."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = Image.fromarray(pixels)
    return np.asarray(image.transpose(undo[orientation]) if orientation in undo else image)


def encoded(pixels: np.ndarray, kind: str, orientation: int = 1, mode: str = "RGB", **options) -> bytes:
    """A file by Pillow."""
    image = Image.fromarray(stored_for(pixels, orientation)).convert(mode)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    file = io.BytesIO()
    if kind == "JPEG":
        options = {"quality": 95, "subsampling": 0, **options}
    image.save(file, kind, exif=exif, **options)
    return file.getvalue()


def sixteen_bit(pixels: np.ndarray) -> bytes:
    """A PNG of 16 bits a channel."""
    return cv2.imencode(".png", pixels[:, :, ::-1].astype(np.uint16) * 257)[1].tobytes()
