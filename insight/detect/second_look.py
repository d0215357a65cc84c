"""The second look: MTCNN's last network, applied to an upright crop that is aligned by the detector's five points.

The network was trained on faces near the middle of its crop and in a narrow range of sizes. On such crops its points
have half the error of the detector's. Its score and the distance by which it moves the points tell whether there is a
face at all. The network also accepts many faces that are upside down or on their side, with wrong points. The crop is
therefore rotated by 90, 180 and 270 degrees too, and a face is rejected if a rotated crop is far more likely a face.
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
# The crop is a square in the aligned face, given by its left edge, top edge and side. The eyes are at 0.345 and 0.709
# of its width and at 0.365 of its height.
LEFT, TOP, SIDE = 5.4, 16.8, 96.8
FAR = 10.0  # pixels of the aligned face; if a point moves by more, the second look is repeated from the new points
# Highest ratio of the probability of "no face" of the upright crop to the lowest of all rotations. It was at most 3.3
# for 113 correct faces, and at least 60 for faces that were detected upside down.
MOST_UNCERTAIN = 10.0
_TURNS = 4


class SecondLook:
    """Refines and scores detected faces. Raises InsightError if the network is missing."""

    def __init__(self) -> None:
        self._network = StageNetwork("onet")
        self._scale = self._network.side / SIDE
        self._target = (ALIGNED + EDGE - [LEFT, TOP]) * self._scale - EDGE

    def identity(self) -> Dict[str, Any]:
        """All that the result depends on, as JSON values."""
        return {"sha256": weights_digest("onet"), "crop": [LEFT, TOP, SIDE], "limits": [FAR, MOST_UNCERTAIN]}

    def look(self, pixels: np.ndarray, faces: Sequence[Face]) -> List[Face]:
        """Return the faces with new points, ``look_score`` and ``moved``, in the same order.

        ``look_score`` is the network's probability of a face, or 0 if a rotated crop is far more likely a face. Faces
        whose five points coincide are left out, because they cannot be aligned.

        Parameters
        ----------
        pixels : np.ndarray
            RGB uint8 (H, W, 3).
        faces : sequence of Face
            In coordinates of ``pixels``.
        """
        faces = [face for face in faces if face.points.var(axis=0).sum() > 0]  # no crop fits points that coincide
        looked = self._once(pixels, faces)
        far = [k for k, face in enumerate(looked) if face.moved > FAR]
        for k, face in zip(far, self._once(pixels, [looked[k] for k in far])):
            looked[k] = face
        return looked

    def _once(self, pixels: np.ndarray, faces: Sequence[Face]) -> List[Face]:
        if not faces:
            return []
        side = self._network.side
        matrices = [similarity(face.points, self._target) for face in faces]
        crops = [warp_without_aliasing(pixels, matrix, (side, side)) for matrix in matrices]
        turned = np.stack([np.rot90(crop, turn) for crop in crops for turn in range(_TURNS)])
        _, points, chances = self._network(turned.transpose(0, 2, 1, 3))
        points = points[::_TURNS].reshape(-1, 2, 5).transpose(0, 2, 1).astype(np.float64) * side - EDGE
        chances = chances.reshape(-1, _TURNS, 2)
        upright = chances[:, 0, 0] <= MOST_UNCERTAIN * chances[:, :, 0].min(axis=1)
        return [self._again(*one) for one in zip(faces, matrices, points, np.where(upright, chances[:, 0, 1], 0))]

    def _again(self, face: Face, matrix: np.ndarray, points: np.ndarray, score: float) -> Face:
        first = face.points @ matrix[:, :2].T + matrix[:, 2]
        moved = np.hypot(*(points - first).T).max() / self._scale
        back = np.linalg.solve(matrix[:, :2], (points - matrix[:, 2]).T).T
        return face._replace(points=back, look_score=float(score), moved=float(moved))
