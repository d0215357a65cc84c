"""``--degrade``: simulated low-quality images, by cropping, downsampling and photometric changes.

Source: Kim et al., "AdaFace", arXiv:2204.00964, section 4.1; dataset/augmenter.py of mk-minchul/AdaFace@c60eaa78. The
steps, in this order, each with the option's probability (0.2 in the source):

1. crop: keep a random rectangle in place and set the rest to black. Its area is 0.2 to 1 of the image's, its aspect
   ratio (width : height) 3:4 to 4:3. A side that exceeds the image's is shortened to it (the original draws again);
2. downsample: scale height and width by a factor in 0.2..1, and back to the original size. The interpolation of each
   of the two resizes is one of five, chosen at random;
3. photometric: change brightness, contrast and saturation, each by a factor in 0.5..1.5, and clip to 0..255 once at
   the end (the original clips after each factor, in a random order).

The images are uint8, BGR. The random numbers are a separate stream, so that ``--degrade`` does not change the draws of
the other augmentations.
"""

from __future__ import annotations

import math
from typing import List, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from . import draws
from .jitter import jitter

AREA = 0.2, 1.0  # share of the image
RATIO = 3 / 4, 4 / 3  # width over height
SIDE = 0.2, 1.0  # side of the downsampled image, relative to the image's
LIGHT = 0.5  # largest change of each of the three factors
INTERPOLATIONS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_AREA, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)

# Columns of an image's random numbers. Do not renumber: a seed would then give other degradations.
CROP, CROP_AREA, CROP_RATIO, CROP_ROW, CROP_COLUMN = range(5)
SHRINK, SHRUNK_SIDE, DOWN, UP = range(5, 9)
RELIGHT, BRIGHTNESS, CONTRAST, SATURATION = range(9, 13)
NEEDED = SATURATION + 1


class Degradation(NamedTuple):
    """The degradation of one image. A step that is None is not applied.

    Attributes
    ----------
    box : (int, int, int, int) or None
        Top, bottom, left and right of the rectangle that is kept, in pixels.
    small : (int, int, int, int) or None
        Height and width of the downsampled image in pixels, and OpenCV's interpolation flags for resizing down and up.
    light : (float, float, float) or None
        Factors of brightness, contrast and saturation.
    """

    box: Optional[Tuple[int, int, int, int]] = None
    small: Optional[Tuple[int, int, int, int]] = None
    light: Optional[Tuple[float, float, float]] = None


def draw(
    probability: float, seed: int, epoch: int, indices: np.ndarray, image_size: Tuple[int, int]
) -> List[Optional[Degradation]]:
    """Draw the degradation of each image. It depends only on (seed, epoch, index).

    Parameters
    ----------
    probability : float
        Probability of each of the three steps, 0..1.
    seed, epoch : int
    indices : numpy.ndarray
        (B,) positions in the set.
    image_size : (int, int)
        (height, width) in pixels.

    Returns
    -------
    list of Degradation or None
        B of them; None where the image is not changed.
    """
    rows = draws.uniforms(seed, epoch, indices, NEEDED, draws.DEGRADATION)
    return [_degradation(row, probability, image_size) for row in rows.tolist()]


def _degradation(u: List[float], probability: float, size: Tuple[int, int]) -> Optional[Degradation]:
    box = _box(u, size) if u[CROP] < probability else None
    small = _small(u, size) if u[SHRINK] < probability else None
    factors = (1 + LIGHT * (2 * u[i] - 1) for i in (BRIGHTNESS, CONTRAST, SATURATION))
    light = tuple(factors) if u[RELIGHT] < probability else None
    return Degradation(box, small, light) if box or small or light else None


def _box(u: List[float], size: Tuple[int, int]) -> Tuple[int, int, int, int]:
    area = size[0] * size[1] * _between(AREA, u[CROP_AREA])
    ratio = math.exp(_between((math.log(RATIO[0]), math.log(RATIO[1])), u[CROP_RATIO]))
    top, bottom = _segment(math.sqrt(area / ratio), size[0], u[CROP_ROW])
    left, right = _segment(math.sqrt(area * ratio), size[1], u[CROP_COLUMN])
    return top, bottom, left, right


def _segment(length: float, side: int, position: float) -> Tuple[int, int]:
    """(begin, end) of a segment of about ``length`` pixels within 0..side, placed by ``position`` in [0, 1)."""
    kept = min(max(round(length), 1), side)
    begin = int(position * (side - kept + 1))
    return begin, begin + kept


def _small(u: List[float], size: Tuple[int, int]) -> Tuple[int, int, int, int]:
    share = _between(SIDE, u[SHRUNK_SIDE])
    height, width = (max(int(share * side), 1) for side in size)
    down, up = (INTERPOLATIONS[int(u[i] * len(INTERPOLATIONS))] for i in (DOWN, UP))
    return height, width, down, up


def _between(span: Tuple[float, float], u: float) -> float:
    return span[0] + (span[1] - span[0]) * u


def degraded(bgr: np.ndarray, degradation: Degradation) -> np.ndarray:
    """Apply a degradation to an image.

    Parameters
    ----------
    bgr : numpy.ndarray
        (H, W, 3) uint8, BGR; not modified.
    degradation : Degradation

    Returns
    -------
    numpy.ndarray
        (H, W, 3) uint8, BGR.
    """
    box, small, light = degradation
    if box:
        top, bottom, left, right = box
        cropped = np.zeros_like(bgr)
        cropped[top:bottom, left:right] = bgr[top:bottom, left:right]
        bgr = cropped
    if small:
        height, width, down, up = small
        downsampled = cv2.resize(bgr, (width, height), interpolation=down)
        bgr = cv2.resize(downsampled, (bgr.shape[1], bgr.shape[0]), interpolation=up)
    return jitter(bgr, *light) if light else bgr
