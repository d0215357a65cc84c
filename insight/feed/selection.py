"""Selection of the images that a run uses (``--images-filter``)."""

from __future__ import annotations

import numpy as np


def enough_images(labels: np.ndarray, least: int) -> np.ndarray:
    """Positions of the images whose identity has at least ``least`` images.

    Parameters
    ----------
    labels : np.ndarray
        (N,) integer identities.
    least : int
        0 or 1 keeps all images.

    Returns
    -------
    np.ndarray
        (M,) integers, ascending.
    """
    if least <= 1:
        return np.arange(len(labels), dtype=np.int32 if len(labels) < 1 << 31 else np.int64)
    _, identity, images = np.unique(labels, return_inverse=True, return_counts=True)
    return np.flatnonzero(images[identity] >= least)
