"""MTCNN: one network proposes boxes in an image pyramid, two others refine them; the last also finds the points.

Source: Zhang et al., 2016; thresholds and steps as in facenet ``src/align/detect_face.py`` (davidsandberg/facenet
@096ed770), with boxes at fractions of pixels.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional, Tuple

import cv2
import numpy as np

from ..face import Face
from . import detectors
from .boxes import EDGE, squares, suppress, suppress_inner
from .detector import Detector
from .mtcnn_networks import StageNetwork, weights_digest

CELL, STRIDE = 12, 2  # receptive field and stride of the first network, in pixels
FACTOR = 0.709  # scale of a level of the pyramid relative to the one before
THRESHOLDS = (0.6, 0.7, 0.7)
OVERLAP_IN_LEVEL, OVERLAP, INNER_OVERLAP = 0.5, 0.7, 0.7


@detectors.register("mtcnn")
class Mtcnn(Detector):
    """The default detector (MIT licence), installed by ``pip install 'insight[detect]'``."""

    def __init__(self, file: Optional[str] = None):
        super().__init__(file)
        self._propose, self._refine, self._output = (StageNetwork(name) for name in ("pnet", "rnet", "onet"))

    def identity(self) -> Dict[str, Any]:
        return {"sha256": weights_digest("pnet", "rnet", "onet"), "thresholds": list(THRESHOLDS)}

    def detect(self, pixels: np.ndarray, smallest: float) -> List[Face]:
        transposed = cv2.transpose(pixels)
        boxes = self._proposals(transposed, smallest)
        boxes = self._refined(transposed, boxes)
        return self._faces(transposed, boxes)

    def _proposals(self, transposed: np.ndarray, smallest: float) -> np.ndarray:
        boxes, scores = [np.zeros((0, 4))], [np.zeros(0)]
        for level in _pyramid(transposed, smallest):
            level_boxes, level_scores = self._proposals_of(level, transposed.shape)
            kept = suppress(level_boxes, level_scores, OVERLAP_IN_LEVEL)
            boxes.append(level_boxes[kept])
            scores.append(level_scores[kept])
        boxes, scores = np.concatenate(boxes), np.concatenate(scores)
        return squares(boxes[suppress(boxes, scores, OVERLAP)])

    def _proposals_of(self, level: np.ndarray, shape: tuple) -> Tuple[np.ndarray, np.ndarray]:
        """Boxes in pixels of the image, refined by the network, and their scores."""
        offsets, chances = self._propose(level[None])
        x, y = np.nonzero(chances[0, :, :, 1] >= THRESHOLDS[0])
        corner = np.stack([x, y], axis=1) * float(STRIDE)
        boxes = np.concatenate([corner, corner + CELL], axis=1)
        boxes += offsets[0, x, y] * CELL
        scale = np.array([shape[0] / level.shape[0], shape[1] / level.shape[1]] * 2)
        return boxes * scale, chances[0, x, y, 1]

    def _refined(self, transposed: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        boxes = _whole_pixels(boxes, transposed.shape)
        if not len(boxes):
            return boxes
        offsets, chances = self._refine.of_boxes(transposed, boxes)
        sure = chances[:, 1] > THRESHOLDS[1]
        boxes, offsets, scores = boxes[sure], offsets[sure], chances[sure, 1]
        kept = suppress(boxes, scores, OVERLAP)
        return squares(_moved(boxes[kept], offsets[kept]))

    def _faces(self, transposed: np.ndarray, boxes: np.ndarray) -> List[Face]:
        boxes = _whole_pixels(boxes, transposed.shape)
        if not len(boxes):
            return []
        offsets, points, chances = self._output.of_boxes(transposed, boxes)
        sure = chances[:, 1] > THRESHOLDS[2]
        boxes, offsets, points, scores = boxes[sure], offsets[sure], points[sure], chances[sure, 1]
        sides = boxes[:, None, 2:] - boxes[:, None, :2]
        points = points.reshape(-1, 2, 5).transpose(0, 2, 1) * sides + boxes[:, None, :2]
        boxes = _moved(boxes, offsets)
        kept = suppress_inner(boxes, scores, INNER_OVERLAP)
        return [Face(boxes[k] - EDGE, points[k] - EDGE, float(scores[k])) for k in kept]


def _pyramid(transposed: np.ndarray, smallest: float) -> Iterator[np.ndarray]:
    """Yield the levels: the first scales faces of ``smallest`` pixels to a cell, each next is smaller by ``FACTOR``."""
    scale = CELL / smallest
    while min(transposed.shape[:2]) * scale >= CELL:
        size = tuple(int(np.ceil(side * scale)) for side in transposed.shape[1::-1])
        yield cv2.resize(transposed, size, interpolation=cv2.INTER_AREA)
        scale *= FACTOR


def _moved(boxes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Boxes whose edges are moved by fractions of their width and height."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return boxes + offsets * np.concatenate([sides, sides], axis=1)


def _whole_pixels(boxes: np.ndarray, shape: tuple) -> np.ndarray:
    """Round boxes to pixel edges, (M, 4) int64; drop those that are empty or outside the image."""
    boxes = np.rint(boxes).astype(np.int64)
    width, height = shape[:2]
    inside = (boxes[:, 0] < width) & (boxes[:, 1] < height) & (boxes[:, 2:] > 0).all(axis=1)
    return boxes[inside & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)]
