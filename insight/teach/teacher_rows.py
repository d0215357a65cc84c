"""Stored embeddings of a training set, from a file written by ``insight embed``.

The file may be larger than the memory. It is not loaded when opened; each step reads only the rows of its batch.
"""

from __future__ import annotations

import json
import os
import zipfile
from typing import Any, Dict, Optional

import numpy as np

from ..arrays.npz import UNREADABLE, StoredRows, reason
from ..errors import InsightError
from ..faces.unit import scale_to_unit, without_direction
from ..formats.faceset import FaceSet

TRIED = 256  # rows that are checked when the file is opened
WRITTEN_BY = "`insight embed --flip both --output-dtype float16` writes it"


class TeacherRows:
    """Embeddings by position in a set, of the images and, if the file has them, of their mirror images.

    Parameters
    ----------
    path : path-like
        The .npz file.
    faces : FaceSet
        Training set. The rows of the file must belong to its images, in the same order.
    fingerprint : str
        Fingerprint of the set.
    flips : bool
        Whether to use the embeddings of mirror images if the file has them. Otherwise a mirrored image gets the
        embedding of the plain image.

    Attributes
    ----------
    path : str
    dimension : int
        Length E of a row.
    flips : bool
        Whether mirrored images have rows of their own.
    about : dict
        Teacher and options as recorded by ``insight embed``.

    Raises
    ------
    InsightError
        The file is missing, was not written by ``insight embed``, or belongs to another set or another order of the
        images; or a checked row is zero or not finite.
    """

    def __init__(self, path, faces: FaceSet, fingerprint: str, flips: bool = True):
        self.path = os.fspath(path)
        self._keys = faces.images
        try:
            self.about = _about(self.path)
            self._plain = StoredRows(self.path, "embeddings")
            self._check_set(faces, fingerprint)
            self._mirrored = self._open_mirrored() if flips else None
        except FileNotFoundError:
            raise InsightError(f"{self.path}: no such file; {WRITTEN_BY}") from None
        except UNREADABLE as error:
            raise InsightError(f"{self.path}: not a teacher's embeddings ({reason(error)}); {WRITTEN_BY}") from None
        self.dimension = self._plain.shape[1]
        self.flips = self._mirrored is not None
        positions = np.unique(np.linspace(0, len(faces) - 1, min(TRIED, len(faces))).astype(np.int64))
        for mirrored in (False, True):
            self.rows(positions, np.full(len(positions), mirrored))

    def _open_mirrored(self) -> Optional[StoredRows]:
        with zipfile.ZipFile(self.path) as archive:
            if "mirrored.npy" not in archive.namelist():
                return None
        mirrored = StoredRows(self.path, "mirrored")
        if (mirrored.shape, mirrored.dtype) != (self._plain.shape, self._plain.dtype):
            raise InsightError(
                f"{self.path}: mirrored is {mirrored.dtype} {mirrored.shape}, embeddings {self._plain.dtype} "
                f"{self._plain.shape}; want two of one type and shape; {WRITTEN_BY}"
            )
        return mirrored

    def _check_set(self, faces: FaceSet, fingerprint: str) -> None:
        plain = self._plain
        if len(plain.shape) != 2 or plain.dtype.kind != "f" or not plain.shape[1]:
            raise InsightError(
                f"{self.path}: embeddings are {plain.dtype} {plain.shape}, want floats (N, E); {WRITTEN_BY}"
            )
        if "set" not in self.about:
            raise InsightError(
                f"{self.path}: does not say of which set it is; `insight embed --input {faces.rec_path}` writes a file "
                "that does"
            )
        if self.about["set"] != fingerprint or len(plain) != len(faces):
            raise InsightError(
                f"{self.path}: has {len(plain)} embeddings of another set than {faces.rec_path} ({len(faces)} images), "
                "or of its images in another order; embed this set"
            )

    def rows(self, positions: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
        """Read the embeddings of some images.

        Parameters
        ----------
        positions : numpy.ndarray
            (B,) int64, positions of the images in the set.
        mirrored : numpy.ndarray
            (B,) bool, True for the mirror image.

        Returns
        -------
        numpy.ndarray
            (B, E) float32, rows of length 1.

        Raises
        ------
        InsightError
            A row is zero or not finite (the message names the record), or the file has become unreadable.
        """
        turned = mirrored & self.flips
        rows = np.empty((len(positions), self.dimension), np.float32)
        try:
            rows[~turned] = self._plain.read(positions[~turned])
            if self._mirrored is not None:
                rows[turned] = self._mirrored.read(positions[turned])
        except (OSError, ValueError) as error:
            raise InsightError(
                f"{self.path}: cannot be read any more ({error}); restore it and resume the run"
            ) from None
        unusable = without_direction(rows)
        if unusable.any():
            key = self._keys[positions[int(np.argmax(unusable))]]
            raise InsightError(
                f"{self.path}: the embedding of record {key} is zero or not finite, so it has no direction; the "
                "teacher or the file is damaged"
            )
        return scale_to_unit(rows)


def _about(path: str) -> Dict[str, Any]:
    """Contents of ``about`` in an .npz file; empty if it has none."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if "about.npy" not in names:
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        about = json.loads(str(arrays["about"]))
    return about if isinstance(about, dict) else {}
