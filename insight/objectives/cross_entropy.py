"""Margin and softmax inside the logits' own buffer, which holds the gradient of the logits afterwards.

B: batch, C: classes, K: classes of a block.
"""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional

import numpy as np

from .._mxnet import mx
from ..margins.margin import Margin, OwnLoss, TargetLogit
from ..margins.targets import Targets
from .projection import blocks

nd = mx.nd
FAR_BELOW = -1e30  # a logit that is never the largest
BLOCKS_OF_MODULATION = 8  # (B, K) arrays that a margin which changes the other logits takes at once


class Loss(NamedTuple):
    """(B,) each; the gradient of the logits is in their buffer."""

    loss_B: Any  # cross entropy after the margin, plus the margin's second loss if it has one; nats
    hit_B: Any  # 1 where the top class is the own one, after the margin (InsightFace's acc)
    hit_free_B: Any  # the same on the logits without margin
    along_B: Any  # d loss / d |e| beside the path through the logits; None: 0
    figures: Dict[str, Any]  # of the margin, by name


class _Softmax(NamedTuple):
    """Loss and probability of the own class; the buffer holds what the other classes' gradients are."""

    loss_B: Any
    probability_B: Any
    hit_B: Any
    hit_free_B: Any


class Logits:
    """A device's (B, C) logits, and the place of the own class in each row."""

    def __init__(self, buffer_BC, label_B):
        self.buffer_BC, self.label_B = buffer_BC, label_B
        self._index_2B = nd.stack(nd.arange(label_B.shape[0], ctx=label_B.context), label_B)
        self.target_B = nd.pick(buffer_BC, label_B)
        self._labels: Optional[np.ndarray] = None  # on the host, if they are needed there

    def put(self, values_B) -> None:
        """Replace the own classes' values."""
        buffer_BC, index_2B = self.buffer_BC, self._index_2B
        nd._internal._scatter_set_nd(buffer_BC, values_B, index_2B, shape=buffer_BC.shape, out=buffer_BC)

    def leave_out_own(self, block_BK, begin: int) -> None:
        """Set the own classes' values to one that is never the largest, in a copy of the columns from ``begin`` on."""
        if self._labels is None:
            self._labels = self.label_B.asnumpy().astype(np.int64)
        column = self._labels - begin
        rows = np.flatnonzero((column >= 0) & (column < block_BK.shape[1]))
        if len(rows):
            device = block_BK.context
            index_2R = nd.array(np.stack([rows, column[rows]]), ctx=device)
            far_R = nd.full(rows.shape, FAR_BELOW, ctx=device)
            nd._internal._scatter_set_nd(block_BK, far_R, index_2R, shape=block_BK.shape, out=block_BK)

    def leave_out(self, above: float) -> None:
        """Let other classes with a logit above a value have no probability and no gradient; a row at a time, in place.

        The own classes' values may be lost too, until :meth:`put`.
        """
        far_C = nd.full((self.buffer_BC.shape[1],), FAR_BELOW, ctx=self.label_B.context)
        for row in range(self.buffer_BC.shape[0]):
            row_C = self.buffer_BC[row]
            nd.where(row_C > above, far_C, row_C, out=row_C)

    def rival(self) -> tuple:
        """(best of the other classes, its logit), each (B,); the own classes' values are lost."""
        self.put(nd.full(self.label_B.shape, FAR_BELOW, ctx=self.label_B.context))
        rival_B = nd.argmax(self.buffer_BC, axis=1)
        return rival_B, nd.pick(self.buffer_BC, rival_B)


def learn(logits: Logits, targets: Targets, entry, margin: Margin) -> Loss:
    """Apply margin and softmax; the logits become their own gradient.

    Parameters
    ----------
    logits : Logits
    targets : Targets
        With the cosines of ``logits.target_B``.
    entry : object
        Of :mod:`insight.objectives.entry`, through which the embeddings came.
    margin : Margin
    """
    bent, own = margin.target_logit(targets), margin.own_loss(targets)
    margined_B = bent.new_B * entry.scale
    if margin.modulates:
        done = _modulated(logits, targets, entry.scale, margin, bent.new_B, margined_B)
    else:
        done = _plain(logits, margined_B)
    error_B = done.probability_B - 1
    gradient_B, loss_B = error_B * bent.slope_B, done.loss_B
    if own is not None:
        loss_B, gradient_B = loss_B + own.loss_B, gradient_B + own.slope_B / entry.scale
    logits.put(gradient_B)
    along_B = _along(error_B, targets, bent, own, entry)
    return Loss(loss_B, done.hit_B, done.hit_free_B, along_B, margin.figures(targets))


def _plain(logits: Logits, margined_B) -> _Softmax:
    rival_B, rival_logit_B = logits.rival()
    logits.put(margined_B)
    hit_B, hit_free_B = margined_B >= rival_logit_B, logits.target_B >= rival_logit_B
    nd.softmax(logits.buffer_BC, out=logits.buffer_BC)
    probability_B = nd.pick(logits.buffer_BC, logits.label_B)
    # By way of the largest logit, whose probability never underflows: exact where the own class's does.
    rival_loss_B = rival_logit_B - margined_B - nd.log(nd.pick(logits.buffer_BC, rival_B))
    loss_B = nd.where(hit_B, -nd.log(probability_B), rival_loss_B)
    return _Softmax(loss_B, probability_B, hit_B, hit_free_B)


def _modulated(logits: Logits, targets: Targets, scale, margin: Margin, new_B, margined_B) -> _Softmax:
    """As :func:`_plain` with a margin that changes the other logits too.

    A softmax of each block by itself, times the slopes, takes the place of the block's logits; a softmax over the
    blocks then gives by what each is multiplied. MXNet's softmax is many times as fast on a CPU as its exp.
    """
    _, rival_free_B = logits.rival()
    logits.put(nd.zeros_like(margined_B))
    rivals, sums = [], []  # of each block: its best logit, and the logarithm of its sum less the own logit
    for begin, end in blocks(logits.buffer_BC.shape[1]):
        cos_BK = nd.slice_axis(logits.buffer_BC, axis=1, begin=begin, end=end)
        cos_BK = _times(cos_BK, 1 / scale)
        new_BK, slope_BK = margin.others(cos_BK, targets, new_B)
        new_BK = _times(new_BK, scale)
        logits.leave_out_own(new_BK, begin)
        rival_B = nd.argmax(new_BK, axis=1)
        rivals.append(nd.pick(new_BK, rival_B))
        nd.softmax(new_BK, out=new_BK)
        sums.append(rivals[-1] - margined_B - nd.log(nd.pick(new_BK, rival_B)))
        nd.elemwise_mul(new_BK, slope_BK, out=new_BK)
        _put_block(logits.buffer_BC, new_BK, begin)
    sums_BN = nd.stack(*sums, nd.zeros_like(margined_B), axis=1)  # the last is the own class
    share_BN = nd.softmax(sums_BN)
    for number, (begin, end) in enumerate(blocks(logits.buffer_BC.shape[1])):
        gradient_BK = nd.slice_axis(logits.buffer_BC, axis=1, begin=begin, end=end)
        nd.broadcast_mul(gradient_BK, share_BN[:, number : number + 1], out=gradient_BK)
        _put_block(logits.buffer_BC, gradient_BK, begin)
    own = len(sums)
    rival_B = nd.max(nd.stack(*rivals), axis=0)
    hit_B, hit_free_B = margined_B >= rival_B, logits.target_B >= rival_free_B
    return _Softmax(-nd.log_softmax(sums_BN)[:, own], share_BN[:, own], hit_B, hit_free_B)


def _times(array_BK, factor):
    """Multiply in place by a number or a (B,) array."""
    if hasattr(factor, "reshape"):
        return nd.broadcast_mul(array_BK, factor.reshape((-1, 1)), out=array_BK)
    array_BK *= factor
    return array_BK


def _put_block(buffer_BC, block_BK, begin: int) -> None:
    """Replace the columns from ``begin`` on."""
    rows, columns = block_BK.shape
    nd._internal._slice_assign(buffer_BC, block_BK, begin=(0, begin), end=(rows, begin + columns), out=buffer_BC)


def _along(error_B, targets: Targets, bent: TargetLogit, own: Optional[OwnLoss], entry):
    """d loss / d |e| beside the path through the logits; None where there is none.

    With logits |e| cos, the margin bends the target logit in the length too:
    d (|e| f(cos)) / d e = f' w^ + (f - f' cos) e^, of which the logits carry the first.
    """
    parts = []
    if entry.follows_length:
        parts.append(error_B * (bent.new_B - bent.slope_B * targets.cos_B))
        if own is not None:
            parts.append(-own.slope_B / entry.scale * targets.cos_B)
    if bent.length_slope_B is not None:
        parts.append(error_B * entry.scale * bent.length_slope_B)
    if own is not None and own.length_slope_B is not None:
        parts.append(own.length_slope_B)
    return sum(parts[1:], parts[0]) if parts else None
