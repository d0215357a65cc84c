"""A face of a photo, and the coordinates of turned and scaled photos."""

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
        (5, 2) float64 x, y: left eye, right eye, nose, left and right mouth corner, as seen by the viewer of the
        upright face.
    score : float
        The detector's confidence, 0 to 1.
    look_score : float
        Confidence of the second look, 0 to 1; 0 if the face is not upright; NaN without one.
    moved : float
        The largest distance by which the second look moved a point, the last time, in pixels of the aligned
        112 x 112 face; NaN without one.
    """

    box: np.ndarray
    points: np.ndarray
    score: float
    look_score: float = float("nan")
    moved: float = float("nan")

    def scaled(self, scale: float) -> Face:
        """The face in an image of ``scale`` times the size; the corner of the top left pixel stays where it is."""
        return self._replace(box=to_scale(self.box, scale), points=to_scale(self.points, scale))

    def turned_back(self, turn: int, size: Tuple[int, int]) -> Face:
        """The face in an image of which it was found in a copy, turned clockwise.

        Parameters
        ----------
        turn : int
            0, 90, 180 or 270 degrees.
        size : (int, int)
            (width, height) of the image that was not turned.
        """
        corners = _turn_back(self.box.reshape(2, 2), turn, size)
        box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
        return self._replace(box=box, points=_turn_back(self.points, turn, size))


def to_scale(coordinates: np.ndarray, scale: float) -> np.ndarray:
    """Coordinates of pixels' centres in an image of ``scale`` times the size."""
    return (coordinates + 0.5) * scale - 0.5


def _turn_back(points: np.ndarray, turn: int, size: Tuple[int, int]) -> np.ndarray:
    x, y = points[:, 0], points[:, 1]
    right, bottom = size[0] - 1, size[1] - 1
    turned = {0: (x, y), 90: (y, bottom - x), 180: (right - x, bottom - y), 270: (right - y, x)}
    return np.stack(turned[turn], axis=1)
