"""Centre spread loss: the mean cosine between a sample's own centre and all centres.

B: batch size, C: classes, E: embedding size.
"""

from __future__ import annotations

import numpy as np

from .._mxnet import mx
from ..ranks.group import Ranks

nd = mx.nd


def learn(weight: float, weight_CE, inverse_C, column_B: np.ndarray, across: Ranks, own: int) -> tuple:
    """Loss, and its gradient as rows to append to the gradient of the logits and to the transformed embeddings.

    With w^ = w / |w|, the derivative of sum_b w^_y . mean(w^) with respect to w^_k is
    count_k mean(w^) + sum_b w^_y / C, where count_k is the number of samples of class k. It is the product of the
    appended rows.

    Parameters
    ----------
    weight : float
        Weight of the loss, :attr:`insight.margins.margin.Margin.centre_spread`.
    weight_CE, inverse_C : NDArray
        Class weights, and 1 / |w|.
    column_B : numpy.ndarray of int64
        Row of each sample's own class in ``weight_CE``; -1 if another rank has it.
    across : Ranks
        Ranks that have the other classes.
    own : int
        Number of classes of this rank: rows of ``weight_CE``, or 0 if its only row is a placeholder of zeros.

    Returns
    -------
    tuple of NDArray
        Loss (B,), gradient rows (2, C), and embedding rows (2, E).
    """
    here, device = column_B >= 0, weight_CE.context
    classes = int(across.sum("fc7/classes", np.array([own]))[0])
    mean_1E = across.sum("fc7/centres", nd.dot(inverse_C.reshape((1, -1)), weight_CE)) / classes
    place_B = nd.array(np.maximum(column_B, 0), ctx=device)
    own_BE = nd.take(weight_CE, place_B) * nd.take(inverse_C, place_B).reshape((-1, 1))
    if not here.all():
        own_BE = own_BE * nd.array(here, ctx=device).reshape((-1, 1))
    own_BE = across.sum("fc7/own_centres", own_BE)
    loss_B = weight * nd.dot(own_BE, mean_1E, transpose_b=True).reshape((-1,))
    sum_1E = nd.sum(own_BE, axis=0, keepdims=True) / classes
    counts = np.bincount(column_B[here], minlength=weight_CE.shape[0])
    counts_C = nd.array(counts, ctx=device, dtype="float32")
    rows_2C = nd.stack(counts_C, nd.ones_like(counts_C))
    return loss_B, rows_2C, weight * nd.concat(mean_1E, sum_1E, dim=0)
