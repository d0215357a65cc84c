"""Boxes of faces: non-maximum suppression, squares. A box is x1, y1, x2, y2.

The edges of pixels are whole numbers here: pixel k reaches from k to k + 1, so x2 - x1 is the number of pixels.
"""

from __future__ import annotations

import cv2
import numpy as np

EDGE = 0.5  # of a pixel, from its centre


def suppress(boxes: np.ndarray, scores: np.ndarray, most_overlap: float) -> np.ndarray:
    """Positions of the boxes that are kept: the best score first, without those that overlap a better one.

    Parameters
    ----------
    boxes : np.ndarray
        (N, 4)
    scores : np.ndarray
        (N,)
    most_overlap : float
        Intersection over union of two that are kept.
    """
    if not len(boxes):
        return np.zeros(0, np.int64)
    corners_and_sizes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(np.float64)
    kept = cv2.dnn.NMSBoxes(corners_and_sizes, scores.astype(np.float32), 0.0, most_overlap)
    return np.asarray(kept, np.int64).ravel()


def suppress_inner(boxes: np.ndarray, scores: np.ndarray, most_overlap: float) -> np.ndarray:
    """As :func:`suppress`, with the intersection over the smaller area: a box inside another is not kept.

    For few boxes: it takes memory of N x N.
    """
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    overlaps = np.clip(high - low, 0, None).prod(axis=2) / np.minimum(areas[:, None], areas[None])
    kept: list = []
    for position in np.argsort(-scores, kind="stable"):
        if not (overlaps[position, kept] > most_overlap).any():
            kept.append(position)
    return np.array(kept, np.int64)


def squares(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) squares of the boxes' longer sides, with the same centres."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    halves = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.concatenate([centres - halves, centres + halves], axis=1)
