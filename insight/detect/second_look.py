"""The second look: MTCNN's last network on an upright crop, cut out by a face's first five points.

The network was trained on faces near the middle of its crop, of a narrow range of sizes. Given such a crop, it finds
points with half the error of a first pass; and how far it moves them, and its score, tell whether they are those of a
face at all.
"""

from __future__ import annotations

from typing import Any, Dict, List, Sequence

import numpy as np

from ..faces.alignment import similarity, template
from .detectors.boxes import EDGE
from .detectors.mtcnn_networks import StageNetwork, weights_digest
from .face import Face
from .halving import warp_without_aliasing

ALIGNED = template((112, 112)).astype(np.float64)
# The crop as a square of the aligned face: its left and top edge and its side. The eyes are at 0.345 and 0.709 of its
# width and at 0.365 of its height.
LEFT, TOP, SIDE = 5.4, 16.8, 96.8


class SecondLook:
    """Looks again at faces. Raises InsightError if the network is missing."""

    def __init__(self) -> None:
        self._network = StageNetwork("onet")
        self._scale = self._network.side / SIDE
        self._target = (ALIGNED + EDGE - [LEFT, TOP]) * self._scale - EDGE

    def identity(self) -> Dict[str, Any]:
        """What the result depends on, as JSON has it."""
        return {"sha256": weights_digest("onet"), "crop": [LEFT, TOP, SIDE]}

    def look(self, pixels: np.ndarray, faces: Sequence[Face]) -> List[Face]:
        """The faces with new points, ``look_score`` and ``moved``, in the same order.

        Parameters
        ----------
        pixels : np.ndarray
            RGB uint8 (H, W, 3).
        faces : sequence of Face
            In coordinates of ``pixels``.
        """
        if not faces:
            return []
        side = self._network.side
        matrices = [similarity(face.points, self._target) for face in faces]
        crops = [warp_without_aliasing(pixels, matrix, (side, side)) for matrix in matrices]
        _, points, chances = self._network(np.stack(crops).transpose(0, 2, 1, 3))
        points = points.reshape(-1, 2, 5).transpose(0, 2, 1).astype(np.float64) * side - EDGE
        return [self._again(*one) for one in zip(faces, matrices, points, chances[:, 1])]

    def _again(self, face: Face, matrix: np.ndarray, points: np.ndarray, score: float) -> Face:
        first = face.points @ matrix[:, :2].T + matrix[:, 2]
        moved = np.hypot(*(points - first).T).max() / self._scale
        back = np.linalg.solve(matrix[:, :2], (points - matrix[:, 2]).T).T
        return face._replace(points=back, look_score=float(score), moved=float(moved))
