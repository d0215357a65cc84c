"""What happens to a training image between its record and the network: mirror, colour, cutoff.

In this order, as ``FaceImageIter`` of deepinsight/insightface@9fc3cc9c has it:

1. mirror: left and right change places, with probability 1/2;
2. colour 2 only: recompression as a JPEG of quality 2..20, with probability 1/2;
3. colour 1 and 2: brightness, contrast and saturation, each by a factor from 0.875..1.125;
4. cutoff N: a square of side N, its centre anywhere in the image, becomes grey (128) with
   probability 1/2. An earlier version of the original (4bc81321) did it to every image, with 127.5.

MXNet's ``ColorJitterAug`` applies its three factors in a random order, which comes to the same
result as :func:`insight.feed.jitter.jitter`: weights of grey add up to 1, and nothing is clipped in between.
:mod:`insight.feed.degrade`, which the original lacks, comes between 1 and 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from ..errors import InsightError
from ..images.pixels import decode_bgr, encode_bgr
from . import degrade, draws
from .degrade import Degradation
from .jitter import jitter

JITTER = 0.125  # largest change of each of the three factors
QUALITIES = 2, 20  # of the recompression, both included
GREY = 128  # of a cutoff square

# Which of an image's random numbers decides what. Numbers never change, or seeds would mean something else.
MIRROR, BRIGHTNESS, CONTRAST, SATURATION, RECOMPRESS, QUALITY, CUT, CUT_ROW, CUT_COLUMN = range(9)


class Change(NamedTuple):
    """What is done to one image in one epoch."""

    mirrored: bool = False
    quality: int = 0  # of the JPEG it is recompressed as; 0: it is not
    jitter: Optional[Tuple[float, float, float]] = None  # factors of brightness, contrast, saturation
    box: Optional[Tuple[int, int, int, int]] = None  # top, bottom, left, right of the grey square
    degradation: Optional[Degradation] = None


@dataclass(frozen=True)
class Augmentation:
    """Which augmentations a training run has; see the module for what they do.

    Attributes
    ----------
    mirror : bool
        ``--rand-mirror``.
    color : int
        ``--color``: 0 none, 1 brightness, contrast and saturation, 2 recompression before these.
    cutoff : int
        ``--cutoff``: side of the grey square in pixels, 0 for none.
    degrade : float
        ``--degrade``: probability of each of :mod:`insight.feed.degrade`'s changes.
    """

    mirror: bool = True
    color: int = 0
    cutoff: int = 0
    degrade: float = 0.0

    def __post_init__(self):
        if self.color not in (0, 1, 2):
            raise InsightError(f"--color {self.color}: must be 0 (none), 1 (jitter) or 2 (recompression and jitter)")
        if self.cutoff < 0:
            raise InsightError(f"--cutoff {self.cutoff}: must be 0 (none) or the side of a square in pixels")
        if not 0 <= self.degrade <= 1:
            raise InsightError(f"--degrade {self.degrade:g}: must be 0 (none) to 1, a probability")

    def draw(self, seed: int, epoch: int, indices: np.ndarray, image_size: Tuple[int, int]) -> List[Change]:
        """What happens to each image, as a function of (seed, epoch, its index) alone.

        Parameters
        ----------
        seed, epoch : int
        indices : np.ndarray
            (B,) positions in the set.
        image_size : (int, int)
            (height, width) in pixels.

        Returns
        -------
        list of Change
            B of them.
        """
        needed = CUT_COLUMN + 1 if self.cutoff else QUALITY + 1 if self.color else MIRROR + 1
        u = draws.uniforms(seed, epoch, indices, needed).T
        nothing = [0] * len(indices)
        mirrored = (u[MIRROR] < 0.5).tolist() if self.mirror else nothing
        quality = self._qualities(u) if self.color == 2 else nothing
        factors = self._factors(u) if self.color else [None] * len(indices)
        boxes = self._boxes(u, image_size) if self.cutoff else [None] * len(indices)
        degraded = (
            degrade.draw(self.degrade, seed, epoch, indices, image_size) if self.degrade else [None] * len(indices)
        )
        return list(map(Change, mirrored, quality, factors, boxes, degraded))

    @staticmethod
    def _qualities(u: np.ndarray) -> list:
        low, high = QUALITIES
        drawn = low + (u[QUALITY] * (high - low + 1)).astype(int)
        return np.where(u[RECOMPRESS] < 0.5, drawn, 0).tolist()

    @staticmethod
    def _factors(u: np.ndarray) -> list:
        factors = 1 + JITTER * (2 * u[[BRIGHTNESS, CONTRAST, SATURATION]] - 1)
        return list(zip(*factors.tolist()))

    def _boxes(self, u: np.ndarray, image_size: Tuple[int, int]) -> list:
        edges = []
        for side, position in zip(image_size, u[[CUT_ROW, CUT_COLUMN]]):
            begin = (position * side).astype(int) - self.cutoff // 2
            edges += np.maximum(begin, 0), np.minimum(begin + self.cutoff, side)
        boxes = zip(*(edge.tolist() for edge in edges))
        return [box if cut else None for cut, box in zip(u[CUT] < 0.5, boxes)]


def write_planes(bgr: np.ndarray, change: Change, out: np.ndarray) -> None:
    """Change one image and write it as planes.

    Parameters
    ----------
    bgr : np.ndarray
        (H, W, 3) uint8, BGR. It is not changed.
    change : Change
    out : np.ndarray
        (3, H, W) float32 or uint8, RGB. Jittered float32 values may leave 0..255, as in the original;
        uint8 ones stay within, and are right to one level.
    """
    if change.mirrored:
        bgr = cv2.flip(bgr, 1)
    if change.degradation:
        bgr = degrade.degraded(bgr, change.degradation)
    if change.quality:
        bgr = decode_bgr(encode_bgr(bgr, ".jpg", change.quality), "recompressed image")
    if change.jitter:
        bgr = jitter(bgr.astype(out.dtype, copy=False), *change.jitter)
    if bgr.dtype == out.dtype:
        cv2.split(bgr, [out[2], out[1], out[0]])
    else:  # bytes are taken apart first: converting whole planes is several times as fast as single colours
        planes = np.empty(out.shape, bgr.dtype)
        cv2.split(bgr, [planes[2], planes[1], planes[0]])
        np.copyto(out, planes)
    if change.box:
        top, bottom, left, right = change.box
        out[:, top:bottom, left:right] = GREY
