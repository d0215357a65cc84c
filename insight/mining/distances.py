"""Distances of unit vectors as functions of their cosine, for losses and miners."""

from __future__ import annotations

from typing import Callable, NamedTuple, Tuple

import numpy as np

LEAST_SINE = 1e-6  # bounds the slope of the angle, which is infinite at cosines of -1 and 1


class Distance(NamedTuple):
    """Distance of unit vectors, as a function of their cosine.

    Attributes
    ----------
    of : callable
        Function from an array of cosines, of any shape, to distances.
    slope : callable
        Function from cosines to d distance / d cosine, finite everywhere.
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
    """Normalise embeddings to unit length, in float64.

    Parameters
    ----------
    rows : np.ndarray
        (N, E) of any float dtype.

    Returns
    -------
    tuple of np.ndarray
        float64 (N, E), rows of length 1, where rows of zeros are left unchanged; and float64 (N,), the lengths before,
        with 1 for rows of zeros.
    """
    rows = rows.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    lengths[lengths == 0] = 1.0
    return rows / lengths[:, None], lengths
