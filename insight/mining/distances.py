"""Distances of unit vectors as functions of their cosine, which losses and miners share."""

from __future__ import annotations

from typing import Callable, NamedTuple, Tuple

import numpy as np

LEAST_SINE = 1e-6  # an angle's slope is infinite at 0, where its direction is not defined


class Distance(NamedTuple):
    """A distance of unit vectors.

    Attributes
    ----------
    of : callable
        Cosines, any shape, to distances.
    slope : callable
        Cosines to d distance / d cosine, finite everywhere.
    """

    of: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]


def _squared(cosines: np.ndarray) -> np.ndarray:
    return np.maximum(2 - 2 * cosines, 0)


def _angle(cosines: np.ndarray) -> np.ndarray:
    return np.arccos(np.clip(cosines, -1, 1))


def _angle_slope(cosines: np.ndarray) -> np.ndarray:
    return -1 / np.sqrt(np.maximum(1 - cosines * cosines, LEAST_SINE**2))


SQUARED = Distance(_squared, lambda cosines: np.full_like(cosines, -2))
ANGLE = Distance(_angle, _angle_slope)
DISTANCES = {"euclid": SQUARED, "angle": ANGLE}


def to_unit(rows: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Embeddings as unit vectors, in float64.

    Parameters
    ----------
    rows : np.ndarray
        (N, E) of any float type.

    Returns
    -------
    tuple of np.ndarray
        (N, E) rows of length 1, a row of zeros as it is; and (N,) lengths, 1 for such a row.
    """
    rows = rows.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    lengths[lengths == 0] = 1.0
    return rows / lengths[:, None], lengths
