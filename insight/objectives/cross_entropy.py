"""Margin and softmax inside the logits' own buffer, which holds the gradient of the logits afterwards.

Where classes are divided among ranks, each has the logits of its own for all samples. The margin sees the target logits
as their sum over the ranks, since all but one rank have a 0; the softmax is joined by the largest logit of each sample
and by the sum of the exponentials.

B: batch, C: classes, R: some rows of the batch.
"""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional

import numpy as np

from .._mxnet import mx
from ..margins.margin import Margin, OwnLoss, TargetLogit
from ..margins.targets import Targets
from ..ranks.group import Ranks
from . import projection

nd = mx.nd
FAR_BELOW = -1e30  # a logit that is never the largest
FEWEST_ROWS = 8  # that a margin which changes the other logits takes at once: MXNet gives each row a thread
ARRAYS_OF_ROWS = 8  # that are allocated meanwhile


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
    target_B : NDArray, optional
        The own classes' logits, on every rank; missing: they are asked for.
    """

    def __init__(self, buffer_BC, column_B: np.ndarray, across: Ranks, stand_in: bool = False, target_B=None):
        self.buffer_BC, self.across, self._stand_in = buffer_BC, across, stand_in
        self._column_B, device = column_B, buffer_BC.context
        here = np.flatnonzero(column_B >= 0)
        self._all_here = len(here) == len(column_B)
        self._here_R = None if self._all_here else nd.array(here, ctx=device)
        self._index_2R = nd.array(np.stack([here, column_B[here]]), ctx=device) if len(here) else None
        self.column_B = nd.array(np.maximum(column_B, 0), ctx=device)
        self.is_here_B = nd.array(column_B >= 0, ctx=device)
        if target_B is None:
            target_B = across.sum("fc7/targets", self._where_here(nd.pick(buffer_BC, self.column_B)))
        self.target_B = target_B

    def rows(self, begin: int, end: int) -> Logits:
        """Those of some samples, in the same buffer."""
        columns, targets = self._column_B[begin:end], self.target_B[begin:end]
        return Logits(self.buffer_BC[begin:end], columns, self.across, self._stand_in, targets)

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
        done = _modulated(logits, targets, margin, entry.scale, bent.new_B, margined_B)
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
    place_B, rival_B = logits.rival()
    logits.put(margined_B)
    nd.softmax(logits.buffer_BC, out=logits.buffer_BC)
    shares = nd.pick(logits.buffer_BC, place_B), nd.pick(logits.buffer_BC, logits.column_B)
    return _joined(logits, margined_B, rival_B, rival_B, *shares)


def _modulated(logits: Logits, targets: Targets, margin: Margin, scale, new_B, margined_B) -> _Softmax:
    """As :func:`_plain` with a margin that changes the other logits too, some rows at a time."""
    rival_free_B = logits.rival()[1]
    logits.hide(0.0)
    parts = []
    batch, classes = logits.buffer_BC.shape
    count = rows_at_once(batch, classes)
    for begin in range(0, batch, count):
        end = min(begin + count, batch)
        rows = logits.rows(begin, end)
        rows.buffer_BC *= 1 / scale
        other_RC, slope_RC = margin.others(rows.buffer_BC, targets.rows(begin, end), new_B[begin:end])
        nd._internal._mul_scalar(other_RC, scalar=scale, out=rows.buffer_BC)
        place_R, rival_R = rows.rival()
        rows.put(margined_B[begin:end])
        nd.softmax(rows.buffer_BC, out=rows.buffer_BC)
        parts.append((rival_R, nd.pick(rows.buffer_BC, place_R), nd.pick(rows.buffer_BC, rows.column_B)))
        nd.elemwise_mul(rows.buffer_BC, slope_RC, out=rows.buffer_BC)
        parts[-1][0].wait_to_read()  # Python runs ahead of MXNet: arrays of all rows would add up to (B, C)
    rival_B, rival_share_B, own_share_B = (nd.concat(*part, dim=0) for part in zip(*parts))
    return _joined(logits, margined_B, rival_free_B, rival_B, rival_share_B, own_share_B)


def _joined(logits: Logits, margined_B, rival_free_B, rival_B, rival_share_B, own_share_B) -> _Softmax:
    """Loss, probability and hits from a softmax over the classes here, which becomes its part of that over all ranks.

    Parameters
    ----------
    margined_B : NDArray
        The own classes' logits, on every rank.
    rival_free_B, rival_B : NDArray
        The largest logits of other classes here, without and with the margin.
    rival_share_B, own_share_B : NDArray
        What the softmax gives the latter and the own classes; where another rank has the own class, anything.
    """
    across = logits.across
    best_B = across.max("fc7/rivals", rival_B)
    free_B = best_B if rival_free_B is rival_B else across.max("fc7/free_rivals", rival_free_B)
    hit_B, hit_free_B = margined_B >= best_B, logits.target_B >= free_B
    if across.size == 1:
        # By way of the largest logit, whose probability never underflows: exact where the own class's does.
        loss_B = nd.where(hit_B, -nd.log(own_share_B), rival_B - margined_B - nd.log(rival_share_B))
        return _Softmax(loss_B, own_share_B, hit_B, hit_free_B)
    own_B = logits.is_here_B * (margined_B >= rival_B)  # the largest on this rank is the own class
    highest_B = nd.broadcast_maximum(best_B, margined_B)
    largest_B, share_B = nd.where(own_B, margined_B, rival_B), nd.where(own_B, own_share_B, rival_share_B)
    sum_B = nd.exp(largest_B - highest_B) / share_B  # of this rank's exp(logit - highest)
    total_B = across.sum("fc7/sums", sum_B)
    logits.buffer_BC *= (sum_B / total_B).reshape((-1, 1))
    loss_B, probability_B = highest_B - margined_B + nd.log(total_B), nd.exp(margined_B - highest_B) / total_B
    return _Softmax(loss_B, probability_B, hit_B, hit_free_B)


def rows_at_once(batch: int, classes: int) -> int:
    """Rows of the logits that a margin which changes the other classes' takes at once."""
    return min(max(FEWEST_ROWS, projection.BLOCK * batch // classes), batch)


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
