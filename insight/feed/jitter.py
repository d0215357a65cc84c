"""Colour jitter: brightness, contrast and saturation, combined into one affine map of the colours."""

from __future__ import annotations

import cv2
import numpy as np

LUMINANCE_BGR = np.array([0.114, 0.587, 0.299])


def jitter(bgr: np.ndarray, brightness: float, contrast: float, saturation: float) -> np.ndarray:
    """Change brightness, contrast and saturation of an image. A factor of 1 changes nothing.

    With grey(x) the luminance of a pixel x, and m the mean luminance of the image:

        x' = brightness * (contrast * (saturation * x + (1 - saturation) * grey(x)) + (1 - contrast) * m).

    Parameters
    ----------
    bgr : numpy.ndarray
        (H, W, 3), uint8 or float32 in 0..255, BGR; not modified.
    brightness, contrast, saturation : float

    Returns
    -------
    numpy.ndarray
        Of the same shape and dtype. uint8 values are rounded and clipped; float32 values may lie outside 0..255.
    """
    mean = cv2.mean(bgr)[:3] @ LUMINANCE_BGR
    gain = brightness * contrast
    affine = np.empty((3, 4))
    affine[:, :3] = gain * (1 - saturation) * LUMINANCE_BGR
    affine[:, :3] += gain * saturation * np.eye(3)
    affine[:, 3] = brightness * (1 - contrast) * mean
    return cv2.transform(bgr, affine)
