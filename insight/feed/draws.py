"""The random draws of samplers and augmentation, as functions of (seed, epoch, index).

No generator is carried from batch to batch, so a resumed run needs only its epoch and batch
number, and worker counts change nothing.

Sources: the draws are SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014) used as a counter-based generator, its key from NumPy's ``SeedSequence``.
"""

from __future__ import annotations

import numpy as np

# One stream of random numbers for each purpose; insight.mining.picking has number 4.
ORDER, AUGMENTATION, PEOPLE, BAG = range(4)
DEGRADATION = 5
BLOCKS, BUFFER = 8, 9
MOST_DRAWS = 16  # that one image can have in an epoch; part of the counter, so a constant for ever

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """A permutation of 0..count-1, int64: which image stands at each position of the epoch."""
    return generator(seed, epoch, ORDER).permutation(count)


def generator(seed: int, number: int, purpose: int) -> np.random.Generator:
    """Random numbers of an epoch, a step or a round, a function of the seed, its number and the purpose."""
    return np.random.Generator(np.random.PCG64(_seeds(seed, number, purpose)))


def uniforms(seed: int, epoch: int, indices: np.ndarray, draws: int, purpose: int = AUGMENTATION) -> np.ndarray:
    """Random numbers that belong to images, whatever their place in the epoch.

    Parameters
    ----------
    seed, epoch : int
    indices : np.ndarray
        (B,) positions in the set, 0 or more.
    draws : int
        How many each image needs, at most ``MOST_DRAWS``. More of them leave the first ones as they are.
    purpose : int
        The stream.

    Returns
    -------
    np.ndarray
        (B, draws) float64 in [0, 1).
    """
    key = _seeds(seed, epoch, purpose).generate_state(1, np.uint64)
    counter = np.asarray(indices).astype(np.uint64)[:, None] * np.uint64(MOST_DRAWS)
    z = key + (counter + np.arange(1, draws + 1, dtype=np.uint64)) * _STEP  # modulo 2^64, as all of this
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)) * 2.0**-53


def _seeds(seed: int, epoch: int, purpose: int) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, epoch, purpose])
