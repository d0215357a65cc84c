"""Made-up pictures for tests."""

import cv2
import numpy as np


def face(number: int, height: int = 112, width: int = 112) -> np.ndarray:
    """uint8 (H, W, 3), smooth, different for each number."""
    small = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def encode(pixels: np.ndarray, suffix: str = ".jpg") -> bytes:
    """The bytes of an image file."""
    return cv2.imencode(suffix, pixels)[1].tobytes()
