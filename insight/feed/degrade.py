"""``--degrade``: poor images made of good ones, for networks that meet such: a part, few pixels, other light.

Kim et al., "AdaFace", arXiv:2204.00964, section 4.1, as mk-minchul/AdaFace@c60eaa78 (dataset/augmenter.py) has it. In
this order, each with the option's probability, 0.2 there:

1. crop: a rectangle of 0.2 to 1 of the image's area, its sides as 3:4 to 4:3, stays where it is; the rest becomes
   black. A side that would be longer than the image's is cut to it (the original draws again);
2. few pixels: sides times 0.2 to 1, and back to their size, each by one of five interpolations;
3. light: brightness, contrast and saturation, each by a factor from 0.5 to 1.5, clipped to 0..255 once at the end (the
   original clips behind each, in a random order).

The images are uint8, BGR. Random numbers are a stream of their own, so the other augmentations' stay the same.
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
SIDE = 0.2, 1.0  # of the small image, over the image's
LIGHT = 0.5  # largest change of each of the three factors
INTERPOLATIONS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_AREA, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)

# Which of an image's random numbers decides what. Numbers never change, or seeds would mean something else.
CROP, CROP_AREA, CROP_RATIO, CROP_ROW, CROP_COLUMN = range(5)
SHRINK, SHRUNK_SIDE, DOWN, UP = range(5, 9)
RELIGHT, BRIGHTNESS, CONTRAST, SATURATION = range(9, 13)
NEEDED = SATURATION + 1


class Degradation(NamedTuple):
    """What is done to one image; None or empty: nothing.

    Attributes
    ----------
    box : (int, int, int, int) or None
        Top, bottom, left and right of what is kept.
    small : (int, int, int, int) or None
        Height and width of the small image, OpenCV's interpolation to it and back.
    light : (float, float, float) or None
        Factors of brightness, contrast and saturation.
    """

    box: Optional[Tuple[int, int, int, int]] = None
    small: Optional[Tuple[int, int, int, int]] = None
    light: Optional[Tuple[float, float, float]] = None


def draw(
    probability: float, seed: int, epoch: int, indices: np.ndarray, image_size: Tuple[int, int]
) -> List[Optional[Degradation]]:
    """What happens to each image, as a function of (seed, epoch, its index) alone.

    Parameters
    ----------
    probability : float
        Of each of the three.
    seed, epoch : int
    indices : numpy.ndarray
        (B,) positions in the set.
    image_size : (int, int)
        (height, width) in pixels.

    Returns
    -------
    list of Degradation or None
        B of them; None where nothing happens.
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
    edges: List[int] = []
    wanted = math.sqrt(area / ratio), math.sqrt(area * ratio)
    for side, length, position in zip(size, wanted, (u[CROP_ROW], u[CROP_COLUMN])):
        kept = min(max(round(length), 1), side)
        begin = int(position * (side - kept + 1))
        edges += begin, begin + kept
    return edges[0], edges[1], edges[2], edges[3]


def _small(u: List[float], size: Tuple[int, int]) -> Tuple[int, int, int, int]:
    share = _between(SIDE, u[SHRUNK_SIDE])
    height, width = (max(int(share * side), 1) for side in size)
    down, up = (INTERPOLATIONS[int(u[i] * len(INTERPOLATIONS))] for i in (DOWN, UP))
    return height, width, down, up


def _between(span: Tuple[float, float], u: float) -> float:
    return span[0] + (span[1] - span[0]) * u


def degraded(bgr: np.ndarray, degradation: Degradation) -> np.ndarray:
    """An image with what was drawn for it done to it; (H, W, 3) uint8, BGR. The given one is not changed."""
    box, small, light = degradation
    if box:
        top, bottom, left, right = box
        rest, bgr = bgr, np.zeros_like(bgr)
        bgr[top:bottom, left:right] = rest[top:bottom, left:right]
    if small:
        height, width, down, up = small
        few = cv2.resize(bgr, (width, height), interpolation=down)
        bgr = cv2.resize(few, (bgr.shape[1], bgr.shape[0]), interpolation=up)
    return jitter(bgr, *light) if light else bgr
