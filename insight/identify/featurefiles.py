"""Features in the folders of MegaFace's development kit: a matrix file per image.

``facescrub/Adam_Sandler/Adam_Sandler_1.png_insightface.bin`` and ``megaface/100/100@N0/1.jpg_insightface.bin``: the
last two or three parts of the image's path, ``_``, the name of the algorithm, ``.bin``. The kit takes the two folders
and ``_insightface.bin``. Source: InsightFace's ``gen_megaface.py`` and ``remove_noises.py`` @9fc3cc9c.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Sequence

import numpy as np

from ..arrays.matrix import read_matrix, to_bytes
from ..errors import InsightError, printable
from ..progress import track
from .facelist import end_of

FACESCRUB, MEGAFACE = "facescrub", "megaface"
PARTS = {FACESCRUB: 2, MEGAFACE: 3}  # of an image's path that its feature's path keeps


def ending_of(algorithm: str) -> str:
    """What follows the image's name in the name of its feature.

    Raises
    ------
    InsightError
        The name of the algorithm cannot be a part of a file's name.
    """
    if not algorithm or "/" in algorithm or "\0" in algorithm:
        raise InsightError(f"--algo {algorithm!r}: want a name that can be part of a file's name, like insightface")
    return f"_{algorithm}.bin"


def read_features(root, part: str, names: Sequence[str], ending: str) -> np.ndarray:
    """Read the features of images: (N, E) float32.

    Parameters
    ----------
    root : path
        The folder that holds ``facescrub`` and ``megaface``.
    part : str
        One of these two.
    names : sequence of str
        Paths of the images.
    ending : str
        From :func:`ending_of`.

    Raises
    ------
    InsightError
        A file is missing or damaged, is not a vector, or has another length than the first.
    """
    features = np.empty((0, 0), np.float32)
    first = ""
    for row, name in enumerate(track(names, f"reading {part}", unit="files")):
        path = os.path.join(root, part, end_of(name, PARTS[part]) + ending)
        matrix = read_matrix(path)
        if 1 not in matrix.shape:
            raise InsightError(f"{printable(path)}: a matrix of {matrix.shape[0]} x {matrix.shape[1]}, want one column")
        if not row:
            features, first = np.empty((len(names), matrix.size), np.float32), path
        if matrix.size != features.shape[1]:
            raise InsightError(
                f"{printable(path)}: {matrix.size} numbers, but {features.shape[1]} in {printable(first)}; "
                "want features of one model"
            )
        features[row] = matrix.ravel()
    return features


def write_features(root: Path, part: str, names: Sequence[str], features: np.ndarray, ending: str) -> None:
    """Write the features (N, E) float32 of images, in the folders that :func:`read_features` reads.

    Raises
    ------
    InsightError
        Two images have the same feature file.
    """
    check_names(part, names)
    made = set()
    for name, feature in zip(track(names, f"writing {part}", unit="files"), features):
        path = root / part / (end_of(name, PARTS[part]) + ending)
        if path.parent not in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            made.add(path.parent)
        path.write_bytes(to_bytes(np.asarray(feature, np.float32)))


def check_names(part: str, names: Sequence[str]) -> None:
    """Raise InsightError if two images have the same feature file."""
    ends = [end_of(name, PARTS[part]) for name in names]
    if len(set(ends)) < len(ends):
        seen = set()
        twice = next(end for end in ends if end in seen or seen.add(end))  # type: ignore[func-returns-value]
        raise InsightError(f"{part}: two images are named {printable(twice)}; want different ends of their paths")
