"""Choice of the face to keep in a photo with several.

From the photo alone: the largest face, or the most central of those that are nearly as large.

From all photos of a person's folder: the face of the person on whom the photos agree, by the embeddings of all faces.
For each face, the photos that contain a face close to it are counted. A photo counts as 1 if that is its main face,
else as 0.5, so that a bystander of many photos is not taken for the person. The face with the highest count is the
first centre. It is then updated ``ROUNDS`` times to the mean direction of the closest face of each photo, over the
closer half of the photos. In each photo, the face with the highest cosine to the final centre is chosen.
"""

from __future__ import annotations

from typing import List, NamedTuple, Sequence, Tuple

import numpy as np

from ..faces.unit import scale_to_unit
from .face import Face

SKIP, LARGEST, ALL = "skip", "largest", "all"  # rules for photos with several faces
NEARLY = 0.6  # share of the largest area from which a face competes by its distance to the centre
CLOSE = 0.35  # cosine above which two faces count as one person
LOWEST = 0.3  # cosine to the centre below which a face is another person's
FEWEST = 3  # photos; between two there is no majority
ROUNDS = 5  # updates of the centre
SECOND = 0.5  # weight of a photo in which the close face is not the main face
RIVAL = 0.9  # share of the highest count from which another person is as likely
BLOCK = 1024  # rows of the matrix of cosines that are computed at once


def area(face: Face) -> float:
    """Area of the box in square pixels."""
    return float(np.prod(np.maximum(face.box[2:] - face.box[:2], 0)))


def by_size(faces: Sequence[Face]) -> List[Face]:
    """Sort faces from the largest; faces of equal area by their coordinates, from left to right."""
    return sorted(faces, key=lambda face: (-area(face), *face.box.tolist(), *face.points.ravel().tolist()))


def main_face(faces: Sequence[Face], size: Tuple[int, int]) -> int:
    """Index of the main face: among those of nearly the largest area, the one nearest to the photo's centre.

    InsightFace and facenet take the maximum of area - 2 d², where d is the distance to the centre in pixels. That
    prefers a small face in the middle to a large one beside it.

    Parameters
    ----------
    faces : sequence of Face
        One or more.
    size : (int, int)
        (width, height) of the photo.
    """
    areas = [area(face) for face in faces]
    large = [k for k, own in enumerate(areas) if own >= NEARLY * max(areas)]
    centre = (np.array(size, np.float64) - 1) / 2
    return min(large, key=lambda k: (float(np.hypot(*(_middle(faces[k]) - centre))), -areas[k], k))


def _middle(face: Face) -> np.ndarray:
    return (face.box[:2] + face.box[2:]) / 2


class Agreement(NamedTuple):
    """Result of :func:`agreement`.

    Attributes
    ----------
    cosines : np.ndarray
        (N,) float64: cosine of each face to the centre of the person.
    ambiguous : bool
        Whether another person is about as likely.
    """

    cosines: np.ndarray
    ambiguous: bool


def agreement(rows: np.ndarray, photos: np.ndarray, main: np.ndarray) -> Agreement:
    """Find the person on whom the photos of a folder agree.

    Parameters
    ----------
    rows : np.ndarray
        (N, E) float32 embeddings of length 1.
    photos : np.ndarray
        (N,) int64: index of the photo of each face, ascending.
    main : np.ndarray
        (N,) bool: whether the face is the main face of its photo.
    """
    starts = np.flatnonzero(np.r_[True, photos[1:] != photos[:-1]])
    counts = _counts(rows, starts, np.where(main, 1.0, SECOND))
    seed = int(counts.argmax())
    cosines = rows @ rows[seed]
    for _ in range(ROUNDS):
        best = _best_of_each(cosines, starts)
        better = best[np.argsort(-cosines[best], kind="stable")[: (len(best) + 1) // 2]]
        centre = scale_to_unit(rows[better].sum(axis=0, keepdims=True))[0]
        cosines = rows @ centre
    others = counts[cosines <= CLOSE]
    return Agreement(cosines.astype(np.float64), bool(len(others) and others.max() >= RIVAL * counts[seed]))


def _counts(rows: np.ndarray, starts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(N,) float64: for each face, the summed weights of the photos that contain a face close to it."""
    counts = np.empty(len(rows))
    for begin in range(0, len(rows), BLOCK):
        close = rows[begin : begin + BLOCK] @ rows.T > CLOSE
        counts[begin : begin + BLOCK] = np.maximum.reduceat(close * weights, starts, axis=1).sum(axis=1)
    return counts


def _best_of_each(cosines: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(P,) index of the face with the highest cosine in each photo."""
    ends = np.r_[starts[1:], len(cosines)]
    return np.array([begin + int(cosines[begin:end].argmax()) for begin, end in zip(starts, ends)])
