"""Margin and softmax inside the logits' own buffer, which holds the gradient of the logits afterwards.

Where classes are divided among ranks, each has the logits of its own for all samples. The margin sees the target logits
as their sum over the ranks, since all but one rank have a 0; the softmax is joined by the largest logit of each sample
and by the sum of the exponentials.

B: batch, C: classes, K: classes of a block.
"""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional

import numpy as np

from .._mxnet import mx
from ..margins.margin import Margin, OwnLoss, TargetLogit
from ..margins.targets import Targets
from ..ranks.group import Ranks
from .projection import blocks

nd = mx.nd
AT_A_TIME = 4  # blocks of classes whose arrays may exist
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
    """A device's (B, C) logits, and the place of the own class in each row.

    Parameters
    ----------
    buffer_BC : NDArray
    column_B : numpy.ndarray of int64
        -1 where another rank has the own class.
    across : Ranks
        Those that have the other classes of these samples.
    stand_in : bool
        There is no class here, and one column of zeros: it is never the largest, has no share in the sums, and gets no
        gradient.
    """

    def __init__(self, buffer_BC, column_B: np.ndarray, across: Ranks, stand_in: bool = False):
        self.buffer_BC, self.across, self._stand_in = buffer_BC, across, stand_in
        self._column_B, device = column_B, buffer_BC.context
        here = np.flatnonzero(column_B >= 0)
        self._all_here = len(here) == len(column_B)
        self._here_R = None if self._all_here else nd.array(here, ctx=device)
        self._index_2R = nd.array(np.stack([here, column_B[here]]), ctx=device) if len(here) else None
        self.column_B = nd.array(np.maximum(column_B, 0), ctx=device)
        self.is_here_B = nd.array(column_B >= 0, ctx=device)
        self.target_B = across.sum("fc7/targets", self._where_here(nd.pick(buffer_BC, self.column_B)))

    def _where_here(self, values_B):
        return values_B if self._all_here else nd.where(self.is_here_B, values_B, nd.zeros_like(values_B))

    def put(self, values_B) -> None:
        """Replace the own classes' values."""
        if self._index_2R is None:
            return
        values_R = values_B if self._all_here else nd.take(values_B, self._here_R)
        buffer_BC, index_2R = self.buffer_BC, self._index_2R
        nd._internal._scatter_set_nd(buffer_BC, values_R, index_2R, shape=buffer_BC.shape, out=buffer_BC)

    def hide(self, value: float) -> None:
        """Replace the own classes' values, or that of the stand-in, by one number."""
        if self._stand_in:
            self.buffer_BC[:] = value
        else:
            self.put(nd.full(self.column_B.shape, value, ctx=self.buffer_BC.context))

    def leave_out_own(self, block_BK, begin: int) -> None:
        """Set the own classes' values to one that is never the largest, in a copy of the columns from ``begin`` on."""
        if self._stand_in:
            block_BK[:] = FAR_BELOW
            return
        column = self._column_B - begin
        rows = np.flatnonzero((self._column_B >= 0) & (column >= 0) & (column < block_BK.shape[1]))
        if len(rows):
            device = block_BK.context
            index_2R = nd.array(np.stack([rows, column[rows]]), ctx=device)
            far_R = nd.full(rows.shape, FAR_BELOW, ctx=device)
            nd._internal._scatter_set_nd(block_BK, far_R, index_2R, shape=block_BK.shape, out=block_BK)

    def leave_out(self, above: float) -> None:
        """Let other classes with a logit above a value have no probability and no gradient; a row at a time, in place.

        The own classes' values may be lost too, until :meth:`put`.
        """
        far_C = nd.full((self.buffer_BC.shape[1],), FAR_BELOW, ctx=self.buffer_BC.context)
        for row in range(self.buffer_BC.shape[0]):
            row_C = self.buffer_BC[row]
            nd.where(row_C > above, far_C, row_C, out=row_C)

    def rival(self) -> tuple:
        """(best of the other classes here, its logit), each (B,); the own classes' values are lost."""
        self.hide(FAR_BELOW)
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
    place_B, rival_logit_B = logits.rival()
    best_B = logits.across.max("fc7/rivals", rival_logit_B)
    logits.put(margined_B)
    hit_B, hit_free_B = margined_B >= best_B, logits.target_B >= best_B
    nd.softmax(logits.buffer_BC, out=logits.buffer_BC)
    if logits.across.size > 1:
        loss_B, probability_B = _joined(logits, margined_B, best_B, place_B, rival_logit_B)
        return _Softmax(loss_B, probability_B, hit_B, hit_free_B)
    probability_B = nd.pick(logits.buffer_BC, logits.column_B)
    # By way of the largest logit, whose probability never underflows: exact where the own class's does.
    rival_loss_B = rival_logit_B - margined_B - nd.log(nd.pick(logits.buffer_BC, place_B))
    loss_B = nd.where(hit_B, -nd.log(probability_B), rival_loss_B)
    return _Softmax(loss_B, probability_B, hit_B, hit_free_B)


def _joined(logits: Logits, margined_B, best_B, place_B, rival_logit_B) -> tuple:
    """(loss, probability of the own class): a rank's softmax becomes its part of that over all ranks.

    Parameters
    ----------
    margined_B, best_B : NDArray
        The own classes' logits, and the largest of the others', of all ranks.
    place_B, rival_logit_B : NDArray
        The largest of the others on this rank: where, and its logit.
    """
    own_B = logits.is_here_B * (margined_B >= rival_logit_B)  # the largest on this rank is the own class
    highest_B = nd.broadcast_maximum(best_B, margined_B)
    largest_B = nd.where(own_B, margined_B, rival_logit_B)
    share_B = nd.pick(logits.buffer_BC, nd.where(own_B, logits.column_B, place_B))
    sum_B = nd.exp(largest_B - highest_B) / share_B  # of this rank's exp(logit - highest)
    total_B = logits.across.sum("fc7/sums", sum_B)
    _times(logits.buffer_BC, sum_B / total_B)
    return highest_B - margined_B + nd.log(total_B), nd.exp(margined_B - highest_B) / total_B


def _modulated(logits: Logits, targets: Targets, scale, margin: Margin, new_B, margined_B) -> _Softmax:
    """As :func:`_plain` with a margin that changes the other logits too.

    A softmax of each block by itself, times the slopes, takes the place of the block's logits; a softmax over the
    blocks then gives by what each is multiplied. MXNet's softmax is many times as fast on a CPU as its exp.
    """
    across = logits.across
    rival_free_B = across.max("fc7/free_rivals", logits.rival()[1])
    logits.hide(0.0)
    rivals, shares = [], []  # of each block: its best logit, and what part of the block's sum that is
    for begin, end in blocks(logits.buffer_BC.shape[1]):
        cos_BK = nd.slice_axis(logits.buffer_BC, axis=1, begin=begin, end=end)
        cos_BK = _times(cos_BK, 1 / scale)
        new_BK, slope_BK = margin.others(cos_BK, targets, new_B)
        new_BK = _times(new_BK, scale)
        logits.leave_out_own(new_BK, begin)
        rival_B = nd.argmax(new_BK, axis=1)
        rivals.append(nd.pick(new_BK, rival_B))
        nd.softmax(new_BK, out=new_BK)
        shares.append(nd.pick(new_BK, rival_B))
        nd.elemwise_mul(new_BK, slope_BK, out=new_BK)
        _put_block(logits.buffer_BC, new_BK, begin)
        if len(shares) >= AT_A_TIME:
            shares[-AT_A_TIME].wait_to_read()  # Python runs ahead of MXNet: arrays of all blocks would add up to C
    best_B = across.max("fc7/rivals", nd.max(nd.stack(*rivals), axis=0))
    loss_B, probability_B, share_BN = _of_blocks(rivals, shares, margined_B, best_B, across)
    for number, (begin, end) in enumerate(blocks(logits.buffer_BC.shape[1])):
        gradient_BK = nd.slice_axis(logits.buffer_BC, axis=1, begin=begin, end=end)
        nd.broadcast_mul(gradient_BK, share_BN[:, number : number + 1], out=gradient_BK)
        _put_block(logits.buffer_BC, gradient_BK, begin)
    return _Softmax(loss_B, probability_B, margined_B >= best_B, logits.target_B >= rival_free_B)


def _of_blocks(rivals: list, shares: list, margined_B, best_B, across: Ranks) -> tuple:
    """(loss, probability of the own class, (B, N) by what each block's softmax is multiplied)."""
    if across.size > 1:
        highest_B = nd.broadcast_maximum(best_B, margined_B)
        sum_BN = nd.exp(nd.stack(*rivals, axis=1) - highest_B.reshape((-1, 1))) / nd.stack(*shares, axis=1)
        own_B = nd.exp(margined_B - highest_B)
        total_B = across.sum("fc7/sums", nd.sum(sum_BN, axis=1)) + own_B
        return highest_B - margined_B + nd.log(total_B), own_B / total_B, sum_BN / total_B.reshape((-1, 1))
    sums = [rival_B - margined_B - nd.log(share_B) for rival_B, share_B in zip(rivals, shares)]
    sums_BN = nd.stack(*sums, nd.zeros_like(margined_B), axis=1)  # the last is the own class
    share_BN = nd.softmax(sums_BN)
    return -nd.log_softmax(sums_BN)[:, len(sums)], share_BN[:, len(sums)], share_BN


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
