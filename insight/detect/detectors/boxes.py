"""Operations on boxes (x1, y1, x2, y2): non-maximum suppression, squares.

Here pixel edges are whole numbers: pixel k extends from k to k + 1, so x2 - x1 is the number of pixels.
"""

from __future__ import annotations

import cv2
import numpy as np

EDGE = 0.5  # distance from the centre of a pixel to its edge


def suppress(boxes: np.ndarray, scores: np.ndarray, most_overlap: float) -> np.ndarray:
    """Non-maximum suppression: indices of the boxes to keep, sorted from the best score.

    Parameters
    ----------
    boxes : np.ndarray
        (N, 4)
    scores : np.ndarray
        (N,)
    most_overlap : float
        Highest intersection over union of two boxes that are kept.
    """
    if not len(boxes):
        return np.zeros(0, np.int64)
    corners_and_sizes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(np.float64)
    kept = cv2.dnn.NMSBoxes(corners_and_sizes, scores.astype(np.float32), 0.0, most_overlap)
    return np.asarray(kept, np.int64).ravel()


def suppress_inner(boxes: np.ndarray, scores: np.ndarray, most_overlap: float) -> np.ndarray:
    """As :func:`suppress`, but with the intersection over the smaller area, so a box inside another is dropped.

    Memory is N x N, so it is for few boxes.
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
    """Enlarge boxes (N, 4) to squares of their longer side, with the same centres."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    halves = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.concatenate([centres - halves, centres + halves], axis=1)
