"""Which of a photo's faces is meant.

From the photo alone: the largest; among nearly as large ones, the most central.

From the photos of a person's folder: the person on whom they agree, by the embeddings of all their faces. For each
face, the photos that hold a face close to it are counted; a photo whose main face is such a one counts whole, another
half. The face with the highest count is the seed; the centre of the photos that are closest to it moves to the person,
and in each photo the face closest to the centre is meant. A bystander of many photos is so told from the person.
"""

from __future__ import annotations

from typing import List, NamedTuple, Sequence, Tuple

import numpy as np

from ..faces.unit import scale_to_unit
from .face import Face

SKIP, LARGEST, ALL = "skip", "largest", "all"  # of several faces
NEARLY = 0.6  # of the largest face's area: the centre decides
CLOSE = 0.35  # cosine of two faces that count as one person
LOWEST = 0.3  # cosine to the centre below which a face is another person's
FEWEST = 3  # photos; two cannot outvote one another
ROUNDS = 5
SECOND = 0.5  # what a photo counts whose largest face is another
RIVAL = 0.9  # part of the highest count from which on another person is as likely
BLOCK = 1024  # rows of a matrix of cosines at a time


def area(face: Face) -> float:
    """Of the box, in square pixels."""
    return float(np.prod(np.maximum(face.box[2:] - face.box[:2], 0)))


def by_size(faces: Sequence[Face]) -> List[Face]:
    """The largest first; those of one size from left to right."""
    return sorted(faces, key=lambda face: (-area(face), *face.box.tolist(), *face.points.ravel().tolist()))


def main_face(faces: Sequence[Face], size: Tuple[int, int]) -> int:
    """Position of the face that is meant: the one nearest to the photo's centre among those of nearly the largest area.

    InsightFace and facenet take the maximum of area - 2 d², d the distance to the centre in pixels, which prefers
    a small face in the middle to a large one beside it.

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
    """Attributes
    ----------
    cosines : np.ndarray
        (N,) float64: of each face to the centre of the person.
    ambiguous : bool
        Whether another person is as likely.
    """

    cosines: np.ndarray
    ambiguous: bool


def agreement(rows: np.ndarray, photos: np.ndarray, main: np.ndarray) -> Agreement:
    """Find the person of a folder.

    Parameters
    ----------
    rows : np.ndarray
        (N, E) float32 embeddings of length 1.
    photos : np.ndarray
        (N,) int64: the photo of each face, ascending.
    main : np.ndarray
        (N,) bool: whether it is its photo's main face.
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
    """(N,) float64: the weights of the photos that hold a face close to each face."""
    counts = np.empty(len(rows))
    for begin in range(0, len(rows), BLOCK):
        close = rows[begin : begin + BLOCK] @ rows.T > CLOSE
        counts[begin : begin + BLOCK] = np.maximum.reduceat(close * weights, starts, axis=1).sum(axis=1)
    return counts


def _best_of_each(cosines: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(P,) positions of the face with the highest cosine in each photo."""
    ends = np.r_[starts[1:], len(cosines)]
    return np.array([begin + int(cosines[begin:end].argmax()) for begin, end in zip(starts, ends)])
