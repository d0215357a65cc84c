"""Alignment of faces by five landmarks, as networks of the InsightFace family expect it.

Landmarks are five points of the image in pixels: left eye, right eye, nose, left mouth corner,
right mouth corner, as seen by the viewer. The target points are the 112 x 96 template of
SphereFace, shifted 8 pixels to the right for 112 x 112.

Source: InsightFace ``src/common/face_preprocess.py`` @9fc3cc9c.
"""

from __future__ import annotations

from typing import Sequence, Tuple

import cv2
import numpy as np

from ..errors import InsightError

TEMPLATE_112x96 = np.array(
    [[30.2946, 51.6963], [65.5318, 51.5014], [48.0252, 71.7366], [33.5493, 92.3655], [62.7299, 92.2041]], np.float32
)
SIZES = ((112, 112), (112, 96))
LONGEST = 32766  # pixels of a side; the limit of cv2.warpAffine


def template(size: Tuple[int, int]) -> np.ndarray:
    """The target points in an aligned image of ``size`` (height, width): (5, 2) float32 x, y in pixels.

    Raises
    ------
    InsightError
        The size is neither 112 x 112 nor 112 x 96; the template is defined only for these.
    """
    if tuple(size) not in SIZES:
        raise InsightError(
            f"--image-size {size[0]},{size[1]}: alignment by landmarks is defined for 112,112 and 112,96; "
            f"use one of these"
        )
    return TEMPLATE_112x96 + np.float32([8, 0] if size[1] == 112 else [0, 0])


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least-squares similarity transform (rotation, scale, shift) from source to target points: (2, 3) float64.

    Parameters
    ----------
    source, target : np.ndarray
        (N, 2) x, y. In float32 the result is bit-identical to InsightFace's packing; in float64 it is exact.

    Raises
    ------
    InsightError
        The source points coincide or are not finite.
    """
    from skimage.transform import SimilarityTransform  # imported here: it takes half a second, and few sets need it

    if not np.asarray(source).var(0).sum() > 0:  # False for NaN too
        raise InsightError("the landmarks coincide; want five different points")
    if hasattr(SimilarityTransform, "from_estimate"):
        transform = SimilarityTransform.from_estimate(source, target)
    else:  # before scikit-image 0.26
        transform = SimilarityTransform()
        transform.estimate(source, target)
    return transform.params[:2]


def warp(pixels: np.ndarray, landmarks: Sequence[float], size: Tuple[int, int]) -> np.ndarray:
    """Crop the aligned face from an image, by a similarity transform with bilinear interpolation.

    Parameters
    ----------
    pixels : np.ndarray
        uint8 (H, W, 3), any colour order.
    landmarks : sequence of 10 floats
        Five x, then five y, in pixels, as in a .lst.
    size : (int, int)
        (height, width) of the result: 112 x 112 or 112 x 96.

    Returns
    -------
    np.ndarray
        uint8 (height, width, 3); black outside the image.

    Raises
    ------
    InsightError
        The points coincide, alignment is not defined for the size, or the image is too large for OpenCV.
    """
    if max(pixels.shape[:2]) > LONGEST:
        raise InsightError(f"a side of {max(pixels.shape[:2])} pixels, at most {LONGEST} can be warped; scale it down")
    points = np.asarray(landmarks, np.float32).reshape(2, 5).T
    return cv2.warpAffine(pixels, similarity(points, template(size)), (size[1], size[0]), borderValue=0.0)
