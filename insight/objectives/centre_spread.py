"""The loss of a margin that spreads the centres: the mean cosine between a sample's own centre and all centres.

B: batch, C: classes, E: embedding size.
"""

from __future__ import annotations

import numpy as np

from .._mxnet import mx
from ..ranks.group import Ranks

nd = mx.nd


def learn(weight: float, weight_CE, inverse_C, column_B: np.ndarray, across: Ranks, own: int) -> tuple:
    """Loss (B,), and its gradient as two more rows of logits (2, C) and of what they are products of (2, E).

    sum_b w^_y . mean(w^) has the derivative count_k mean(w^) + sum_b w^_y / C by centre k.

    Parameters
    ----------
    weight : float
        Of the loss, :attr:`insight.margins.margin.Margin.centre_spread`.
    weight_CE, inverse_C : NDArray
        The class weights, and 1 / |w|.
    column_B : numpy.ndarray of int64
        The own classes, -1 where another rank has it.
    across : Ranks
        Those that have the other classes.
    own : int
        Classes here: rows of ``weight_CE``, or 0 where its only row is zeros and stands for none.
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
