"""Scale embeddings (N, E) to unit length, so that their inner products are cosines.

The results of the two functions differ in the last bits, so they are not interchangeable. :func:`unit_rows` computes in
the dtype of its rows, as InsightFace's verification does, and accuracies depend on that. :func:`scale_to_unit` is for
many float32 rows: it sums squares in float64 and scales in place.
"""

from __future__ import annotations

import numpy as np

from ..errors import InsightError


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Rows (N, E) scaled to length 1, in their dtype; rows of zeros are kept."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)


def scale_to_unit(rows: np.ndarray) -> np.ndarray:
    """Scale rows (N, E) float32 to length 1, in place; rows of zeros are kept. Returns them."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    rows /= np.maximum(lengths, np.finfo(np.float32).tiny).astype(np.float32)[:, None]
    return rows


def without_direction(rows: np.ndarray) -> np.ndarray:
    """(N,) bool: which rows (N, E) are zero or not finite."""
    return ~np.isfinite(rows).all(1) | ~rows.any(1)


def directions(rows: np.ndarray, what: str, first: int = 0) -> np.ndarray:
    """Scale a copy of raw embeddings to length 1: (N, E) float32.

    Parameters
    ----------
    rows : numpy.ndarray
        (N, E).
    what : str
        Name of a row in the message: ``gallery: embedding``.
    first : int
        Number of the first row, for the message.

    Raises
    ------
    InsightError
        A row is zero or not finite.
    """
    rows = np.array(rows, np.float32)
    invalid = without_direction(rows)
    if invalid.any():
        raise InsightError(
            f"{what} {first + int(np.argmax(invalid))} (from 0) is zero or not finite, so it has no direction; "
            "the model is damaged, or the file does not contain embeddings"
        )
    return scale_to_unit(rows)
