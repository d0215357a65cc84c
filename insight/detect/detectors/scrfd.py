"""SCRFD, in ONNX Runtime: InsightFace's det_500m.onnx, det_2.5g.onnx, det_10g.onnx, scrfd_*_kps.onnx.

Images are not enlarged to 640 x 640 as in the package insightface, because SCRFD then finds none of the faces that fill
small photos. They are padded to multiples of 32, or to the fixed input size of the network if it has one.

The outputs are scores (N, 1), distances to box edges (N, 4) and distances to points (N, 10), for strides 8, 16 and 32,
with or without a leading dimension of 1. They are identified by their shapes.

Source: Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", 2021; decoding as in
deepinsight/insightface @4bc81321 ``python-package/insightface/model_zoo/scrfd.py``.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import cv2
import numpy as np

from ...errors import InsightError
from ..face import Face
from . import detectors
from .boxes import suppress
from .detector import Detector
from .onnx_session import open_onnx

SCORE, OVERLAP = 0.5, 0.4
STRIDES = (8, 16, 32)
COLUMNS = (1, 4, 10)  # scores, boxes, points


@detectors.register("scrfd")
class Scrfd(Detector):
    """SCRFD networks with landmarks, which have nine outputs."""

    FILE = "an SCRFD network with five points (InsightFace's det_10g.onnx, scrfd_2.5g_kps.onnx)"

    def __init__(self, file: Optional[str] = None):
        super().__init__(file)
        session, self._run = open_onnx(str(file))
        shape = session.get_inputs()[0].shape
        if len(shape) != 4 or len(session.get_outputs()) != len(STRIDES) * len(COLUMNS):
            raise InsightError(
                f"{file}: has {len(session.get_outputs())} outputs and an input of {shape}; want {self.FILE}"
            )
        self._fixed = tuple(side if isinstance(side, int) and side > 0 else 0 for side in shape[2:])
        self._outputs(np.zeros((STRIDES[-1], STRIDES[-1], 3), np.uint8))

    def identity(self) -> Dict[str, Any]:
        return {**super().identity(), "score": SCORE}

    def detect(self, pixels: np.ndarray, smallest: float) -> List[Face]:
        height, width = (fixed or side for fixed, side in zip(self._fixed, pixels.shape))
        scale = min(1.0, height / pixels.shape[0], width / pixels.shape[1])
        if scale < 1:
            size = (max(1, int(pixels.shape[1] * scale)), max(1, int(pixels.shape[0] * scale)))
            scale = max(size) / max(pixels.shape[:2])
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        scores, boxes, points = self._decoded(pixels)
        kept = [k for k in suppress(boxes, scores, OVERLAP) if (boxes[k, 2:] - boxes[k, :2]).max() >= smallest * scale]
        return [Face(boxes[k], points[k], float(scores[k])).scaled(1 / scale) for k in kept]

    def _decoded(self, pixels: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scores (N,), boxes (N, 4) and points (N, 5, 2) of all strides, for scores of at least ``SCORE``."""
        parts = []
        (height, width), outputs = self._outputs(pixels)
        for stride, scores, edges, points in zip(STRIDES, *(outputs[columns] for columns in COLUMNS)):
            rows, columns = height // stride, width // stride
            anchors = len(scores) // (rows * columns)  # per position
            sure = np.flatnonzero(scores[:, 0] >= SCORE)
            position = sure // anchors
            centres = np.stack([position % columns, position // columns], axis=1) * float(stride)
            edges, points = edges[sure] * float(stride), points[sure].reshape(-1, 5, 2) * float(stride)
            boxes = np.concatenate([centres - edges[:, :2], centres + edges[:, 2:]], axis=1)
            parts.append((scores[sure, 0], boxes, centres[:, None] + points))
        scores, boxes, points = (np.concatenate(arrays) for arrays in zip(*parts))
        return scores, boxes, points

    def _outputs(self, pixels: np.ndarray) -> Tuple[Tuple[int, int], Dict[int, List[np.ndarray]]]:
        """(height, width) after padding, and outputs by number of columns, each a list for strides 8, 16 and 32."""
        height, width = (fixed or -(-side // 32) * 32 for fixed, side in zip(self._fixed, pixels.shape))
        padded = np.zeros((height, width, 3), np.float32)
        padded[: pixels.shape[0], : pixels.shape[1]] = pixels
        arrays = self._run(((padded - 127.5) / 128).astype(np.float32).transpose(2, 0, 1)[None])
        outputs: Dict[int, List[np.ndarray]] = {columns: [] for columns in COLUMNS}
        for array in arrays:
            outputs.get(array.shape[-1], []).append(array.reshape(-1, array.shape[-1]))
        for columns in COLUMNS:
            outputs[columns].sort(key=len, reverse=True)
            lengths = [len(array) for array in outputs[columns]]
            positions = [(height // stride) * (width // stride) for stride in STRIDES]
            if len(lengths) != len(STRIDES) or any(n % p or not n for n, p in zip(lengths, positions)):
                raise InsightError(f"{self.file}: outputs of {columns} columns have {lengths} rows; want {self.FILE}")
        return (height, width), outputs
