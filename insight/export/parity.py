"""The gate of every export: what was written embeds faces as MXNet does, or it is not kept."""

from __future__ import annotations

from typing import Callable, NamedTuple, Tuple

import cv2
import numpy as np

from ..errors import CheckFailed, InsightError
from ..faces.embed import load

FLOAT32_BOUND = 0.9999
COUNT = 32  # faces that a gate looks at

Faces = Callable[[int, Tuple[int, int]], np.ndarray]  # (count, (H, W)) -> (N, 3, H, W) uint8, RGB


class Parity(NamedTuple):
    """How alike two sets of embeddings are: cosines, lowest and mean, over ``count`` faces."""

    count: int
    lowest: float
    mean: float

    def __str__(self) -> str:
        return f"cosine {self.lowest:.7f} lowest, {self.mean:.7f} mean over {self.count} faces"


def compare(reference: np.ndarray, candidate: np.ndarray) -> Parity:
    """Cosine between rows of two (N, E) arrays; NaN where a row is zero or not finite."""
    a, b = (np.asarray(rows, np.float64) for rows in (reference, candidate))
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return Parity(len(cosine), float(cosine.min()), float(cosine.mean()))


def take(faces: Faces, count: int, size: Tuple[int, int]) -> np.ndarray:
    """(N, 3, H, W) uint8, RGB: the images of a gate, ``count`` of them or all there are.

    Raises
    ------
    InsightError
        None are asked for, or more than memory holds.
    """
    if count < 1:
        raise InsightError(f"--num-faces {count}: must be at least 1; the files are compared by them")
    try:
        return faces(count, size)
    except MemoryError:
        raise InsightError(f"--num-faces {count}: are more than memory holds; a few hundred tell as much") from None


def gate(
    what: str, reference: Callable, candidate: Callable, faces: np.ndarray, bound: float, of: str = "lowest"
) -> Parity:
    """Embed the same faces twice.

    Parameters
    ----------
    what : str
        The file, for the message.
    reference, candidate : callable
        Images to raw embeddings: MXNet on the plain graph, and what was written in its own runtime.
    faces : numpy.ndarray
        (N, 3, H, W) uint8, RGB.
    bound : float
        Least cosine that is good enough.
    of : str
        Which one: ``lowest``, every face must reach it; or ``mean``.

    Raises
    ------
    CheckFailed
        The cosine is below the bound, or an embedding is not finite.
    """
    wanted = reference(faces)
    if not np.isfinite(wanted).all():
        raise CheckFailed(f"{what}: MXNet's own embeddings are not finite; the parameters are damaged")
    found = compare(wanted, candidate(faces))
    if not getattr(found, of) >= bound:  # also where it is NaN
        raise CheckFailed(f"{what}: embeds unlike MXNet ({found}; the {of} must be {bound}); nothing was written")
    return found


def compare_files(path, other, bound: float = FLOAT32_BOUND) -> Parity:
    """Compare two files that ``embed`` wrote of the same images.

    Raises
    ------
    InsightError
        They are of other images or have another embedding length.
    CheckFailed
        A pair of embeddings is below the bound, or is not finite.
    """
    ours, theirs = load(path), load(other)
    if ours.keys.tolist() != theirs.keys.tolist() or ours.embeddings.shape != theirs.embeddings.shape:
        raise InsightError(
            f"{other}: holds {theirs.embeddings.shape} embeddings of other images than {path} {ours.embeddings.shape}; "
            "embed the same input with both models"
        )
    flips = [held.about.get("flip") if held.about else None for held in (ours, theirs)]
    if None not in flips and flips[0] != flips[1]:
        raise InsightError(f"{other}: was embedded with --flip {flips[1]}, {path} with {flips[0]}; embed both alike")
    found = compare(theirs.embeddings, ours.embeddings)
    if not found.lowest >= bound:
        raise CheckFailed(f"{path}: embeds unlike {other} ({found}; bound {bound})")
    return found


def random_faces(count: int, size: Tuple[int, int], seed: int = 0) -> np.ndarray:
    """Smooth random images with the colours and contrast of aligned faces, (count, 3, H, W) uint8 RGB.

    A bright oval on a darker ground under coarse and fine noise. A network spreads its embeddings of
    them as it does those of faces, so that a difference between two graphs shows; they resemble no one.
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
