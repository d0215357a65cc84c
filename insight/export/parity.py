"""The parity gate of every export: a file whose embeddings of faces differ from MXNet's is not kept."""

from __future__ import annotations

from typing import Callable, NamedTuple, Tuple

import cv2
import numpy as np

from ..errors import CheckFailed, InsightError
from ..faces.embed import load

FLOAT32_BOUND = 0.9999
COUNT = 32  # faces that a gate compares

Faces = Callable[[int, Tuple[int, int]], np.ndarray]  # (count, (H, W)) -> (N, 3, H, W) uint8, RGB


class Parity(NamedTuple):
    """Agreement of two sets of embeddings: lowest and mean cosine over ``count`` faces."""

    count: int
    lowest: float
    mean: float

    def __str__(self) -> str:
        return f"cosine {self.lowest:.7f} lowest, {self.mean:.7f} mean over {self.count} faces"


def compare(reference: np.ndarray, candidate: np.ndarray) -> Parity:
    """Cosine between rows of two (N, E) arrays; NaN if a row is zero or not finite."""
    a, b = (np.asarray(rows, np.float64) for rows in (reference, candidate))
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return Parity(len(cosine), float(cosine.min()), float(cosine.mean()))


def take(faces: Faces, count: int, size: Tuple[int, int]) -> np.ndarray:
    """Take up to ``count`` images of (H, W) ``size`` for a gate, (N, 3, H, W) uint8, RGB.

    Raises
    ------
    InsightError
        ``count`` is below 1, or the images do not fit in memory.
    """
    if count < 1:
        raise InsightError(f"--num-faces {count}: must be at least 1; the files are compared on them")
    try:
        return faces(count, size)
    except MemoryError:
        raise InsightError(f"--num-faces {count}: do not fit in memory; use a few hundred") from None


def gate(
    what: str, reference: Callable, candidate: Callable, faces: np.ndarray, bound: float, of: str = "lowest"
) -> Parity:
    """Check that two networks give nearly the same embeddings of the same faces.

    Parameters
    ----------
    what : str
        The file, for the message.
    reference, candidate : callable
        Images to raw embeddings: MXNet on the plain graph, and the exported file in its own runtime.
    faces : numpy.ndarray
        (N, 3, H, W) uint8, RGB.
    bound : float
        Lowest cosine to accept.
    of : str
        Statistic to compare with the bound: ``lowest``, which every face must reach; or ``mean``.

    Raises
    ------
    CheckFailed
        The cosine is below the bound, or an embedding is not finite.
    """
    expected = reference(faces)
    if not np.isfinite(expected).all():
        raise CheckFailed(f"{what}: MXNet's own embeddings are not finite; the parameters are damaged")
    agreement = compare(expected, candidate(faces))
    if not getattr(agreement, of) >= bound:  # also if it is NaN
        raise CheckFailed(
            f"{what}: its embeddings differ from MXNet's ({agreement}; the {of} must be {bound}); nothing was written"
        )
    return agreement


def compare_files(path, other, bound: float = FLOAT32_BOUND) -> Parity:
    """Compare two files that ``embed`` wrote for the same images.

    Raises
    ------
    InsightError
        They are of different images or have different embedding lengths or flip modes.
    CheckFailed
        The cosine of a pair of embeddings is below the bound, or not finite.
    """
    ours, theirs = load(path), load(other)
    if ours.keys.tolist() != theirs.keys.tolist() or ours.embeddings.shape != theirs.embeddings.shape:
        raise InsightError(
            f"{other}: has {theirs.embeddings.shape} embeddings of other images than {path} {ours.embeddings.shape}; "
            "embed the same input with both models"
        )
    flips = [file.about.get("flip") if file.about else None for file in (ours, theirs)]
    if None not in flips and flips[0] != flips[1]:
        raise InsightError(
            f"{other}: was embedded with --flip {flips[1]}, {path} with {flips[0]}; use one of them for both"
        )
    agreement = compare(theirs.embeddings, ours.embeddings)
    if not agreement.lowest >= bound:
        raise CheckFailed(f"{path}: its embeddings differ from those of {other} ({agreement}; bound {bound})")
    return agreement


def random_faces(count: int, size: Tuple[int, int], seed: int = 0) -> np.ndarray:
    """Smooth random images with the colours and contrast of aligned faces, (count, 3, H, W) uint8 RGB.

    A bright oval on a darker background with coarse and fine noise. A network spreads the embeddings of
    such images as it spreads those of faces, so a difference between two graphs is visible. They resemble nobody.
    """
    height, width = size
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    oval = np.clip(1.4 - 1.4 * (x**2 / 0.6 + y**2 / 0.9), 0, 1)[..., None]
    images = np.empty((count, 3, height, width), np.uint8)
    for i in range(count):
        draw = np.random.default_rng([seed, i])
        image = draw.uniform(30, 110, 3) + oval * draw.uniform(40, 110, 3) * [1.0, 0.8, 0.7]
        for cells, spread in ((4, 25), (9, 25), (28, 10)):
            noise = draw.normal(0, spread, (cells, cells, 1)) + draw.normal(0, spread / 4, (cells, cells, 3))
            image = image + cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        images[i] = np.clip(image, 0, 255).astype(np.uint8).transpose(2, 0, 1)
    return images
