"""Random numbers of samplers and augmentation, as functions of (seed, epoch, index).

No generator state is carried from batch to batch. A resumed run therefore needs only its epoch and batch number, and
the results do not depend on the number of workers.

Source: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014) as a
counter-based generator; the key comes from NumPy's ``SeedSequence``.
"""

from __future__ import annotations

import numpy as np

# Stream numbers: the last word of a generator's seed, a different one for each purpose. Packages that do not import
# this module define their own: 4 in insight.mining.picking, 0xD0 and 0xD1 in insight.objectives.drawn_classes, 0xD2 in
# insight.objectives.initial_rows, 0xD3 in insight.margins.targets.
ORDER, AUGMENTATION, PEOPLE, BAG = range(4)
DEGRADATION = 5
BLOCKS, BUFFER = 8, 9
MOST_DRAWS = 16  # per image and epoch; part of the counter, so changing it would change the draws of every seed

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """(count,) int64 permutation of 0..count-1: the order of the images in an epoch."""
    return generator(seed, epoch, ORDER).permutation(count)


def generator(seed: int, number: int, purpose: int) -> np.random.Generator:
    """A generator seeded by the run's seed, the number of an epoch, step or round, and the purpose (the stream)."""
    return np.random.Generator(np.random.PCG64(_seeds(seed, number, purpose)))


def uniforms(seed: int, epoch: int, indices: np.ndarray, draws: int, purpose: int = AUGMENTATION) -> np.ndarray:
    """Uniform random numbers of images; they do not depend on an image's place in the epoch.

    Parameters
    ----------
    seed, epoch : int
    indices : np.ndarray
        (B,) positions in the set, 0 or more.
    draws : int
        Numbers per image, at most ``MOST_DRAWS``. The first n numbers are the same for any ``draws`` >= n.
    purpose : int
        Number of the stream.

    Returns
    -------
    np.ndarray
        (B, draws) float64 in [0, 1).
    """
    key = _seeds(seed, epoch, purpose).generate_state(1, np.uint64)
    counter = np.asarray(indices).astype(np.uint64)[:, None] * np.uint64(MOST_DRAWS)
    z = key + (counter + np.arange(1, draws + 1, dtype=np.uint64)) * _STEP  # uint64 arithmetic wraps modulo 2^64
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)) * 2.0**-53


def _seeds(seed: int, epoch: int, purpose: int) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, epoch, purpose])
