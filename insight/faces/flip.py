"""Embeddings of images and of their mirror images. InsightFace's verification uses their sum."""

from __future__ import annotations

from typing import Callable, Tuple

import numpy as np


def both_passes(
    network: Callable[[np.ndarray], np.ndarray], images: np.ndarray, together: bool = False
) -> Tuple[np.ndarray, np.ndarray]:
    """Raw embeddings (N, E) of images and of their mirror images.

    Parameters
    ----------
    network : callable
        Images (N, 3, H, W) to embeddings (N, E).
    images : numpy.ndarray
        (N, 3, H, W).
    together : bool
        Whether to make one call with 2N images, which is faster for few images, or two, which need half the memory.
    """
    mirrored = np.ascontiguousarray(images[..., ::-1])
    if not together:
        return network(images), network(mirrored)
    rows = network(np.concatenate([images, mirrored]))
    return rows[: len(images)], rows[len(images) :]
