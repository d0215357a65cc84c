"""``--clip-norm``: scale the network's gradient down if its norm exceeds a bound.

Source: Pascanu et al., "On the difficulty of training recurrent neural networks", arXiv:1211.5063, algorithm 1. Only
the network's gradient is clipped, without the objective's, and the bound is on the gradient of the batch's mean loss.
Both are as in ``clip_grad_norm_(backbone.parameters(), 5)`` of recognition/arcface_torch, deepinsight/insightface.
"""

from __future__ import annotations

import math

from .._mxnet import mx

AT_ONCE = 100  # arrays per call of multi_sum_sq
PART = 1 << 14  # elements whose squares are summed in float32


def clip(gradients: list, batch_size: int, bound: float) -> float:
    """Scale gradients in place so that their joint norm is at most ``bound``.

    Parameters
    ----------
    gradients : list of list of mxnet.nd.NDArray
        For each parameter, its gradient on every device. The gradients of one parameter are equal: already summed over
        the devices. They are those of the sum, not the mean, of the batch's losses.
    batch_size : int
        Images over all devices.
    bound : float
        Largest norm of the gradient of the mean loss, above 0.

    Returns
    -------
    float
        Norm of the gradient of the mean loss before clipping.
    """
    norm = norm_of([copies[0] for copies in gradients]) / batch_size
    if norm > bound:
        for copies in gradients:
            for gradient in copies:
                gradient *= bound / norm
    return norm


def norm_of(arrays: list) -> float:
    """Euclidean norm over all elements of arrays on one device; waits for the result."""
    parts = [part for array in arrays for part in _parts(array)]
    groups = (parts[i : i + AT_ONCE] for i in range(0, len(parts), AT_ONCE))
    sums = [mx.nd.multi_sum_sq(*group, num_arrays=len(group)) for group in groups]
    return math.sqrt(math.fsum(value for part in sums for value in part.asnumpy().tolist()))


def _parts(array) -> list:
    """Short flat views of an array: a float32 sum of squares over 25 million elements at once is 6 per cent off."""
    flat = array.reshape((-1,))
    return [flat[i : i + PART] for i in range(0, flat.shape[0], PART)]
