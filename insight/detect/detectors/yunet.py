"""YuNet, in OpenCV's FaceDetectorYN.

Its points have twice the error of MTCNN's, and are poor on faces of more than 300 pixels (opencv/opencv_zoo#116). The
second look corrects both.

Source: Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", 2023; files of libfacedetection.train and
opencv_zoo.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

import cv2
import numpy as np

from ...errors import InsightError
from ..face import Face
from . import detectors
from .detector import Detector

SCORE, OVERLAP, MOST = 0.6, 0.3, 5000
_TRIAL = 64  # side of the image on which a file is tested


@detectors.register("yunet")
class YuNet(Detector):
    """YuNet networks, run by OpenCV's FaceDetectorYN."""

    FILE = "a YuNet network in ONNX"

    def __init__(self, file: Optional[str] = None):
        super().__init__(file)
        try:
            self._detector = cv2.FaceDetectorYN.create(str(file), "", (_TRIAL, _TRIAL), SCORE, OVERLAP, MOST)
            self._detector.detect(np.zeros((_TRIAL, _TRIAL, 3), np.uint8))
        except cv2.error as error:
            reason = (error.err or str(error)).strip().partition("\n")[0]
            raise InsightError(f"{file}: OpenCV does not run it ({reason}); want {self.FILE}") from None

    def identity(self) -> Dict[str, Any]:
        return {**super().identity(), "score": SCORE}

    def detect(self, pixels: np.ndarray, smallest: float) -> List[Face]:
        self._detector.setInputSize((pixels.shape[1], pixels.shape[0]))
        _, rows = self._detector.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        faces = []
        for row in np.zeros((0, 15)) if rows is None else rows.astype(np.float64):
            corner, size, points = row[:2], row[2:4], row[4:14].reshape(5, 2)
            if size.max() >= smallest:
                faces.append(Face(np.concatenate([corner, corner + size]), points, float(np.clip(row[14], 0, 1))))
        return faces
