"""``--clip-norm``: a gradient of the network that is longer than a bound is scaled down to it.

Pascanu et al., "On the difficulty of training recurrent neural networks", arXiv:1211.5063, algorithm 1; of the network
alone, as the face recipes clip it (``clip_grad_norm_(backbone.parameters(), 5)`` of recognition/arcface_torch,
deepinsight/insightface). There the gradient is that of the batch's mean loss, and so it is here.
"""

from __future__ import annotations

import math

from .._mxnet import mx

AT_ONCE = 100  # arrays that one multi_sum_sq takes
PART = 1 << 14  # numbers that are added up in float32


def clip(gradients: list, batch_size: int, bound: float) -> float:
    """Scale gradients in place so that their norm is at most a bound.

    Parameters
    ----------
    gradients : list of list of mxnet.nd.NDArray
        Of each parameter the array of every device; those of a parameter are equal, summed over the devices, and of
        the sum of a batch's losses.
    batch_size : int
        Over all devices.
    bound : float
        Of the norm of the gradient of the mean loss, above 0.

    Returns
    -------
    float
        The norm before, of the mean loss.
    """
    norm = norm_of([copies[0] for copies in gradients]) / batch_size
    if norm > bound:
        for copies in gradients:
            for gradient in copies:
                gradient *= bound / norm
    return norm


def norm_of(arrays: list) -> float:
    """The Euclidean norm of all numbers of some arrays, which are on one device; waits."""
    parts = [part for array in arrays for part in _parts(array)]
    groups = (parts[i : i + AT_ONCE] for i in range(0, len(parts), AT_ONCE))
    sums = [mx.nd.multi_sum_sq(*group, num_arrays=len(group)) for group in groups]
    return math.sqrt(math.fsum(value for part in sums for value in part.asnumpy().tolist()))


def _parts(array) -> list:
    """Views of an array: over 25 million numbers at once, float32 sums of squares are 6 per cent off."""
    flat = array.reshape((-1,))
    return [flat[i : i + PART] for i in range(0, flat.shape[0], PART)]
