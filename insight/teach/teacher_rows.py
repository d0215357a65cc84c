"""The embeddings of a training set by another network, in a file of ``insight embed``, as rows of a batch.

The file is not read when it is opened, which a set of millions may need: a step reads the rows of its batch.
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

TRIED = 256  # rows that are looked at before the training starts
WRITTEN_BY = "`insight embed --flip both --output-dtype float16` writes it"


class TeacherRows:
    """Embeddings by position in a set, of the images and, where the file has them, of their mirror images.

    Parameters
    ----------
    path : path
        The .npz.
    faces : FaceSet
        The set, whose images the rows must be of, in its order.
    fingerprint : str
        Of the set.
    flips : bool
        Whether to use the embeddings of mirror images, if the file has them. Otherwise a mirrored image gets the row of
        the plain one.

    Attributes
    ----------
    path : str
    dimension : int
        Length E of a row.
    flips : bool
        Whether mirrored images have rows of their own.
    about : dict
        The teacher and the options, as ``insight embed`` recorded them.

    Raises
    ------
    InsightError
        The file is missing, is not one of embed's, or is of another set or another order; or a row has no direction.
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
        """Embeddings of some images, of length 1.

        Parameters
        ----------
        positions : numpy.ndarray
            (B,) int64 positions in the set.
        mirrored : numpy.ndarray
            (B,) bool: of which images the mirror image is meant.

        Returns
        -------
        numpy.ndarray
            (B, E) float32.

        Raises
        ------
        InsightError
            A row is zero or not finite; the message names the record. Or the file cannot be read any more.
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
    """``about`` of an .npz; empty where it has none."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if "about.npy" not in names:
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        about = json.loads(str(arrays["about"]))
    return about if isinstance(about, dict) else {}
