"""Aligned crops of faces, and their measures."""

from __future__ import annotations

from typing import NamedTuple, Tuple

import cv2
import numpy as np

from ..faces.alignment import similarity, template
from .face import Face
from .halving import warp_without_aliasing
from .photo import Photo


class Measures(NamedTuple):
    """Measures by which a face can be rejected.

    Attributes
    ----------
    eyes : float
        Distance of the eyes, in pixels of the photo.
    sharpness : float
        Variance of the Laplacian of the grey crop: about 500 for a sharp face, below 10 for a very blurred one. It
        depends on the size of the crop.
    outside : float
        Share of the crop's pixels that are outside the photo, 0 to 1.
    """

    eyes: float
    sharpness: float
    outside: float


def eye_distance(face: Face) -> float:
    """Distance of the eyes, in pixels of the photo."""
    return float(np.hypot(*(face.points[1] - face.points[0])))


def crop_face(
    photo: Photo, face: Face, size: Tuple[int, int], only_measured: bool = False
) -> Tuple[np.ndarray, Measures]:
    """Warp a face onto the five-point template.

    Parameters
    ----------
    photo : Photo
    face : Face
        In the photo's coordinates.
    size : (int, int)
        (height, width) of the crop; one of :data:`insight.faces.alignment.SIZES`.
    only_measured : bool
        The crop is not kept. The pixels that were decoded last, if any, are used, whatever their size.

    Returns
    -------
    crop : np.ndarray
        RGB uint8 (height, width, 3), black outside the photo.
    measures : Measures

    Raises
    ------
    InsightError
        The photo does not decode, or the points coincide.
    """
    target = template(size)
    onto = similarity(face.points, target)
    scale = float(np.hypot(*onto[:, 0]))
    decoded = photo.at_hand(face.points) if only_measured else None
    pixels, points = decoded or photo.for_crop(face.points, max(photo.size) * scale)
    crop = warp_without_aliasing(pixels, similarity(points, target), size)
    sharpness = cv2.Laplacian(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var()
    return crop, Measures(eye_distance(face), float(sharpness), share_outside(onto, size, photo.size))


def share_outside(onto: np.ndarray, size: Tuple[int, int], photo_size: Tuple[int, int]) -> float:
    """The share of a crop's pixels whose centres are outside the photo.

    Parameters
    ----------
    onto : np.ndarray
        (2, 3) similarity from the photo to the crop.
    size : (int, int)
        (height, width) of the crop.
    photo_size : (int, int)
        (width, height) of the photo.
    """
    y, x = np.mgrid[: size[0], : size[1]].reshape(2, -1)
    there = np.linalg.solve(onto[:, :2], np.stack([x, y]) - onto[:, 2:]) + 0.5
    inside = (there >= 0).all(axis=0) & (there[0] <= photo_size[0]) & (there[1] <= photo_size[1])
    return float(1 - inside.mean())
