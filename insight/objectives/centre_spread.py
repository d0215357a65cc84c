"""The loss of a margin that spreads the centres: the mean cosine between a sample's own centre and all centres.

B: batch, C: classes, E: embedding size.
"""

from __future__ import annotations

import numpy as np

from .._mxnet import mx

nd = mx.nd


def learn(weight: float, weight_CE, inverse_C, label_B) -> tuple:
    """Loss (B,), and its gradient as two more rows of logits (2, C) and of what they are products of (2, E).

    sum_b w^_y . mean(w^) has the derivative count_k mean(w^) + sum_b w^_y / C by centre k.

    Parameters
    ----------
    weight : float
        Of the loss, :attr:`insight.margins.margin.Margin.centre_spread`.
    weight_CE, inverse_C : NDArray
        The class weights, and 1 / |w|.
    label_B : NDArray
    """
    classes = weight_CE.shape[0]
    mean_1E = nd.dot(inverse_C.reshape((1, -1)), weight_CE) / classes
    own_BE = nd.take(weight_CE, label_B) * nd.take(inverse_C, label_B).reshape((-1, 1))
    loss_B = weight * nd.dot(own_BE, mean_1E, transpose_b=True).reshape((-1,))
    sum_1E = nd.sum(own_BE, axis=0, keepdims=True) / classes
    counts = np.bincount(label_B.asnumpy().astype(np.int64), minlength=classes)
    counts_C = nd.array(counts, ctx=weight_CE.context, dtype="float32")
    rows_2C = nd.stack(counts_C, nd.ones_like(counts_C))
    return loss_B, rows_2C, weight * nd.concat(mean_1E, sum_1E, dim=0)
