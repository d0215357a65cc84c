"""Detected faces, and their coordinates in rotated and scaled images."""

from __future__ import annotations

from typing import NamedTuple, Tuple

import numpy as np


class Face(NamedTuple):
    """A detected face.

    Attributes
    ----------
    box : np.ndarray
        (4,) float64 x1, y1, x2, y2.
    points : np.ndarray
        (5, 2) float64 x, y: left eye, right eye, nose, left and right mouth corner, as a viewer sees the upright face.
    score : float
        The detector's confidence, 0 to 1.
    look_score : float
        Confidence of the second look, 0 to 1; 0 if the face is not upright; NaN without a second look.
    moved : float
        The largest distance by which the last pass of the second look moved a point, in pixels of the aligned
        112 x 112 face; NaN without a second look.
    """

    box: np.ndarray
    points: np.ndarray
    score: float
    look_score: float = float("nan")
    moved: float = float("nan")

    def scaled(self, scale: float) -> Face:
        """The face in an image of ``scale`` times the size, scaled about the outer corner of the top left pixel."""
        return self._replace(box=to_scale(self.box, scale), points=to_scale(self.points, scale))

    def turned_back(self, turn: int, size: Tuple[int, int]) -> Face:
        """Convert a face from a rotated copy of an image to the image itself.

        Parameters
        ----------
        turn : int
            Clockwise rotation of the copy: 0, 90, 180 or 270 degrees.
        size : (int, int)
            (width, height) of the image before the rotation.
        """
        corners = _turn_back(self.box.reshape(2, 2), turn, size)
        box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
        return self._replace(box=box, points=_turn_back(self.points, turn, size))


def to_scale(coordinates: np.ndarray, scale: float) -> np.ndarray:
    """Convert coordinates to those in an image of ``scale`` times the size; (0, 0) is the centre of the first pixel."""
    return (coordinates + 0.5) * scale - 0.5


def _turn_back(points: np.ndarray, turn: int, size: Tuple[int, int]) -> np.ndarray:
    x, y = points[:, 0], points[:, 1]
    right, bottom = size[0] - 1, size[1] - 1
    turned = {0: (x, y), 90: (y, bottom - x), 180: (right - x, bottom - y), 270: (right - y, x)}
    return np.stack(turned[turn], axis=1)
