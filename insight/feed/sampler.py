"""The order of an epoch, and every random draw of the feed, as functions of (seed, epoch, index).

No generator is carried from batch to batch, so a resumed run needs only its epoch and batch
number, and worker counts change nothing.
"""

from __future__ import annotations

import numpy as np

ORDER, MIRROR = 0, 1  # one stream of random numbers for each purpose


def stream(seed: int, epoch: int, purpose: int) -> np.random.Generator:
    """The generator of one purpose in one epoch."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch, purpose])))


def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """A permutation of 0..count-1, int64: which image stands at each position of the epoch."""
    return stream(seed, epoch, ORDER).permutation(count)


def mirror_flags(seed: int, epoch: int, count: int) -> np.ndarray:
    """(count,) bool by image index: mirrored in this epoch with probability 1/2."""
    return stream(seed, epoch, MIRROR).random(count) < 0.5
