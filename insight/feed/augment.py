"""Augmentation of training images: mirror, colour, cutoff.

The steps and their order are those of ``FaceImageIter``, deepinsight/insightface@9fc3cc9c:

1. mirror: flip horizontally, with probability 1/2;
2. colour 2 only: recompress as a JPEG of quality 2..20, with probability 1/2;
3. colour 1 and 2: change brightness, contrast and saturation, each by a factor in 0.875..1.125;
4. cutoff N: set a square of side N, whose centre may be anywhere in the image, to grey (128), with
   probability 1/2. (4bc81321, an earlier version, does this to every image and uses 127.5.)

MXNet's ``ColorJitterAug`` applies the three factors in a random order. The result is the same as that of
:func:`insight.feed.jitter.jitter`, because the luminance weights sum to 1 and nothing is clipped in between.
:mod:`insight.feed.degrade`, which the original does not have, is applied between 1 and 2.
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

# Columns of an image's random numbers. Do not renumber: a seed would then give other augmentations.
MIRROR, BRIGHTNESS, CONTRAST, SATURATION, RECOMPRESS, QUALITY, CUT, CUT_ROW, CUT_COLUMN = range(9)


class Change(NamedTuple):
    """The augmentation of one image in one epoch."""

    mirrored: bool = False
    quality: int = 0  # JPEG quality of the recompression; 0: not recompressed
    jitter: Optional[Tuple[float, float, float]] = None  # factors of brightness, contrast, saturation
    box: Optional[Tuple[int, int, int, int]] = None  # top, bottom, left, right of the grey square
    degradation: Optional[Degradation] = None


@dataclass(frozen=True)
class Augmentation:
    """Augmentation options of a training run; the module docstring describes the steps.

    Attributes
    ----------
    mirror : bool
        ``--rand-mirror``.
    color : int
        ``--color``: 0 none, 1 brightness, contrast and saturation, 2 recompression before these.
    cutoff : int
        ``--cutoff``: side of the grey square in pixels, 0 for none.
    degrade : float
        ``--degrade``: probability of each change of :mod:`insight.feed.degrade`, 0 for none.

    Raises
    ------
    InsightError
        A value is out of range; the message names the option.
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
        """Draw the augmentation of each image. It depends only on (seed, epoch, index).

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
        last_needed = MIRROR
        if self.cutoff:
            last_needed = CUT_COLUMN
        elif self.color:
            last_needed = QUALITY
        u = draws.uniforms(seed, epoch, indices, last_needed + 1).T  # (numbers of an image, B)
        zeros, nones = [0] * len(indices), [None] * len(indices)
        mirrored = (u[MIRROR] < 0.5).tolist() if self.mirror else zeros
        qualities = self._qualities(u) if self.color == 2 else zeros
        factors = self._factors(u) if self.color else nones
        boxes = self._boxes(u, image_size) if self.cutoff else nones
        degradations = nones
        if self.degrade:
            degradations = degrade.draw(self.degrade, seed, epoch, indices, image_size)
        return list(map(Change, mirrored, qualities, factors, boxes, degradations))

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
        """(top, bottom, left, right) of each image's square, clipped to the image; None without one."""
        edges = []
        for side, position in zip(image_size, u[[CUT_ROW, CUT_COLUMN]]):
            begin = (position * side).astype(int) - self.cutoff // 2
            edges.append(np.maximum(begin, 0))
            edges.append(np.minimum(begin + self.cutoff, side))
        boxes = zip(*(edge.tolist() for edge in edges))
        return [box if cut else None for cut, box in zip(u[CUT] < 0.5, boxes)]


def write_planes(bgr: np.ndarray, change: Change, out: np.ndarray) -> None:
    """Augment one image and write it to ``out`` as planar RGB.

    Parameters
    ----------
    bgr : np.ndarray
        (H, W, 3) uint8, BGR; not modified.
    change : Change
    out : np.ndarray
        (3, H, W) float32 or uint8, RGB; overwritten. After colour jitter, float32 values may lie outside 0..255, as
        in the original; uint8 values are rounded and clipped, and so differ from them by up to one level.
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
    else:  # split first, then convert: converting contiguous planes is several times faster than interleaved pixels
        planes = np.empty(out.shape, bgr.dtype)
        cv2.split(bgr, [planes[2], planes[1], planes[0]])
        np.copyto(out, planes)
    if change.box:
        top, bottom, left, right = change.box
        out[:, top:bottom, left:right] = GREY
