"""Sources of faces from a list: aligned images under a folder, or photos with landmarks, aligned when read."""

from __future__ import annotations

import hashlib
import os
from typing import Sequence, Tuple

import numpy as np

from ..errors import InsightError, printable
from ..images.header import exif_orientation
from ..images.pixels import decode_rgb, turned_upright
from .alignment import template, warp
from .sources import UNKNOWN, ImageSource, file_reader


class ListedSource(ImageSource):
    """Aligned faces under a folder, in the order of a list.

    Parameters
    ----------
    root : path
    names : sequence of str
        (N,) paths of the images, relative to ``root``.

    Raises
    ------
    InsightError
        The folder is missing.
    """

    REMEDY = "want all images of the list; give the folder in which its paths begin"

    def __init__(self, root, names: Sequence[str]):
        root = os.fspath(root)
        if not os.path.isdir(root):
            raise InsightError(f"{printable(root)}: no such folder; want the one in which the paths of the list begin")
        super().__init__(root, names, np.full(len(names), UNKNOWN, np.int64), file_reader(root, names), "")


class PhotoSource(ListedSource):
    """Photos with five landmarks each; :meth:`pixels` returns the aligned face.

    Parameters
    ----------
    root : path
    names : sequence of str
        (N,) paths of the photos, relative to ``root``.
    points : numpy.ndarray
        (N, 10) float32: five x, then five y, in pixels of the upright photo, as :func:`insight.faces.alignment.warp`
        takes them.
    """

    def __init__(self, root, names: Sequence[str], points: np.ndarray):
        super().__init__(root, names)
        self.points = np.ascontiguousarray(points, np.float32)

    def pixels(self, i: int, size: Tuple[int, int]) -> np.ndarray:
        """The i-th face, aligned by its points: uint8 (3, H, W), RGB, 0..255; black outside the photo.

        Raises
        ------
        InsightError
            The photo cannot be decoded, its points coincide, or alignment is not defined for the size.
        """
        template(size)
        data = self.read(i)
        photo = decode_rgb(data, self.name(i), lambda warning: self.damage.add(i, warning))
        photo = turned_upright(photo, exif_orientation(data))
        try:
            return warp(photo, self.points[i], size).transpose(2, 0, 1)
        except InsightError as error:
            raise InsightError(f"{self.name(i)}: {error}") from None

    def digest(self) -> str:
        """Digest as of any source, with the points included."""
        return hashlib.sha256(super().digest().encode() + self.points.tobytes()).hexdigest()
