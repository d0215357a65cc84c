"""Detection of copies and of images of other people among the images of one identity.

All functions take the normalised embeddings of one identity's images, (n, E) float32. Thresholds are cosines, and
suitable values depend on the model.
"""

from __future__ import annotations

from typing import List, Optional, Tuple

import numpy as np

from ..faces.unit import scale_to_unit

STEPS = 30  # limit of both iterations; in practice they converge in fewer than ten, and their objective never decreases


def robust_centre(rows: np.ndarray) -> np.ndarray:
    """Return the centre of the half of the images that agree best, (E,) float32.

    The first centre is the normalised mean of all images. Each step selects the h = n // 2 + 1 images most similar to
    the centre, and takes their normalised mean as the new centre, until the selection does not change. No step
    decreases the sum of their cosines. These are the concentration steps of FAST-LTS (Rousseeuw and Van Driessen,
    2006) on the sphere. The other images do not influence the result.
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
    """Return for each image the first earlier image with cosine >= threshold, or -1 if there is none, (n,) int64.

    Images are compared only with earlier images that are not copies themselves.
    """
    first = np.full(len(rows), -1, np.int64)
    original = np.ones(len(rows), bool)
    for i in range(1, len(rows)):
        same = np.flatnonzero(original[:i] & (rows[:i] @ rows[i] >= threshold))
        if len(same):
            first[i], original[i] = same[0], False
    return first


def people(rows: np.ndarray, apart: float, smallest: int) -> List[np.ndarray]:
    """Return the positions of each person's images, the person with most images first.

    Spherical k-means with k = 2 divides the images. If both parts have at least ``smallest`` images and the cosine
    between their centres is below ``apart``, they are two people, and each part is divided again. If one part is
    smaller, it is set aside and the other part is divided again.
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
    """Return the positions of two people's images, each assigned to the nearer centre; None if there is one person."""
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
    """Divide images by Lloyd's algorithm with two centres; return a mask of those of the second, (n,) bool.

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
