"""Images of one identity that do not belong to it: copies, second people, strangers.

All functions take only the normalised embeddings of one identity's images, (n, E) float32, so
thresholds are cosines and valid for one model.
"""

from __future__ import annotations

from typing import List, Optional, Tuple

import numpy as np

from ..faces.unit import scale_to_unit

STEPS = 30  # both iterations below converge in fewer than ten in practice, and their objective never decreases


def robust_centre(rows: np.ndarray) -> np.ndarray:
    """(E,) float32: the centre of the half of the images that agree best.

    Starting from the mean, repeat: take the h = n // 2 + 1 images most similar to the centre; the new
    centre is their normalised mean; until the h images do not change. Each step increases the sum of
    their cosines. These are the concentration steps of FAST-LTS (Rousseeuw and Van Driessen, 2006) on
    the sphere: the other images do not influence the centre.
    """
    count = len(rows) // 2 + 1
    centre, chosen = _mean(rows), None
    for _ in range(STEPS):
        best = np.sort(np.argsort(-(rows @ centre), kind="stable")[:count])
        if chosen is not None and np.array_equal(best, chosen):
            break
        chosen = best
        centre = _mean(rows[chosen])
    return centre


def copies(rows: np.ndarray, threshold: float) -> np.ndarray:
    """(n,) int64: for each image the first earlier one with cosine >= threshold; -1 if there is none.

    Images are compared only with earlier ones that are not copies themselves.
    """
    first = np.full(len(rows), -1, np.int64)
    original = np.ones(len(rows), bool)
    for i in range(1, len(rows)):
        same = np.flatnonzero(original[:i] & (rows[:i] @ rows[i] >= threshold))
        if len(same):
            first[i], original[i] = same[0], False
    return first


def people(rows: np.ndarray, apart: float, smallest: int) -> List[np.ndarray]:
    """Positions of each person's images, most images first; one array for one person.

    Two means on the sphere divide the images; if both parts have ``smallest`` images and the
    cosine between their centres is below ``apart``, they are two people, and each part is divided
    again. A smaller part is set aside, and the rest divided once more.
    """
    persons, waiting = [], [np.arange(len(rows))]
    while waiting:
        group = waiting.pop()
        parts = _two_people(rows[group], apart, smallest)
        if parts is None:
            persons.append(group)
        else:
            waiting += [group[part] for part in parts]
    return sorted(persons, key=lambda group: (-len(group), int(group[0])))


def _two_people(rows: np.ndarray, apart: float, smallest: int) -> Optional[Tuple[np.ndarray, np.ndarray]]:
    """Positions of the images of two people, each image assigned to the nearer one; None for one person."""
    left = np.arange(len(rows))
    while len(left) >= 2 * smallest:
        second = _two_means(rows[left])
        parts = left[~second], left[second]
        centres = np.stack([_mean(rows[part]) for part in parts]) if second.any() and not second.all() else None
        if centres is None or centres[0] @ centres[1] >= apart:
            return None
        if min(map(len, parts)) >= smallest:
            nearer = (rows @ centres.T).argmax(1)
            return np.flatnonzero(nearer == 0), np.flatnonzero(nearer == 1)
        left = max(parts, key=len)
    return None


def _two_means(rows: np.ndarray) -> np.ndarray:
    """(n,) bool: images of the second of two centres, by Lloyd's steps.

    The first centre is initialised with the image least similar to the mean, the second with the image least
    similar to the first.
    """
    one = rows[(rows @ _mean(rows)).argmin()]
    two = rows[(rows @ one).argmin()]
    second = rows @ two > rows @ one
    for _ in range(STEPS):
        if second.all() or not second.any():
            break
        one, two = _mean(rows[~second]), _mean(rows[second])
        updated = rows @ two > rows @ one
        if np.array_equal(updated, second):
            break
        second = updated
    return second


def _mean(rows: np.ndarray) -> np.ndarray:
    return scale_to_unit(rows.mean(0, keepdims=True))[0]
