"""Feature files in the layout of MegaFace's development kit: one matrix file per image.

Examples: ``facescrub/Adam_Sandler/Adam_Sandler_1.png_insightface.bin``, ``megaface/100/100@N0/1.jpg_insightface.bin``.
A name consists of the last two or three parts of the image's path, ``_``, the name of the algorithm, and ``.bin``. The
kit is given the two folders and the ending ``_insightface.bin``. Source: InsightFace's ``gen_megaface.py`` and
``remove_noises.py`` @9fc3cc9c.
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
PARTS = {FACESCRUB: 2, MEGAFACE: 3}  # number of parts of an image's path that the path of its feature file keeps


def ending_of(algorithm: str) -> str:
    """The ending of the feature files of an algorithm: ``_ALGORITHM.bin``.

    Raises
    ------
    InsightError
        The name of the algorithm cannot be part of a file name.
    """
    if not algorithm or "/" in algorithm or "\0" in algorithm:
        raise InsightError(f"--algo {algorithm!r}: want a name that can be part of a file's name, like insightface")
    return f"_{algorithm}.bin"


def read_features(root, part: str, names: Sequence[str], ending: str) -> np.ndarray:
    """Read the features of images.

    Parameters
    ----------
    root : path
        The folder that contains ``facescrub`` and ``megaface``.
    part : str
        ``facescrub`` or ``megaface``.
    names : sequence of str
        Paths of the N images.
    ending : str
        Ending of the feature files, from :func:`ending_of`.

    Returns
    -------
    numpy.ndarray
        (N, E) float32.

    Raises
    ------
    InsightError
        A file is missing or damaged, does not contain a vector, or its length differs from that of the first file.
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
    """Write the features (N, E) float32 of images in the layout that :func:`read_features` reads.

    Raises
    ------
    InsightError
        Two images would have the same feature file.
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
    """Raise InsightError if two images would have the same feature file."""
    ends = [end_of(name, PARTS[part]) for name in names]
    if len(set(ends)) < len(ends):
        seen = set()
        twice = next(end for end in ends if end in seen or seen.add(end))  # type: ignore[func-returns-value]
        raise InsightError(f"{part}: two images are named {printable(twice)}; want different ends of their paths")
