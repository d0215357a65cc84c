"""Margin, softmax and cross entropy, computed in place: the buffer of the logits receives their gradient.

Where the classes are sharded, each rank has the logits of its own classes for all samples. The target logits are summed
over the ranks, since all ranks but one have a 0. The softmax is combined from each sample's largest logit and sum of
exponentials on each rank.

B: batch size, C: classes, R: some rows of the batch.
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
FEWEST_ROWS = 8  # fewest rows per call of Margin.others: MXNet computes rows in parallel threads
ARRAYS_OF_ROWS = 8  # arrays of these rows that such a call allocates


class Loss(NamedTuple):
    """Per-sample results, (B,) each. The gradient of the logits is in their buffer."""

    loss_B: Any  # cross entropy with the margin, plus the margin's own loss if it has one; nats
    hit_B: Any  # 1 if the top class is the own one, with the margin (InsightFace's acc), else 0
    hit_free_B: Any  # the same without the margin
    along_B: Any  # part of d loss / d |e| that does not pass through the logits; None: 0
    figures: Dict[str, Any]  # the margin's figures, by name


class _Softmax(NamedTuple):
    """Softmax results, (B,) each. The buffer of the logits holds the gradients of the other classes."""

    loss_B: Any
    probability_B: Any
    hit_B: Any
    hit_free_B: Any


class Logits:
    """Logits (B, C) of a device, and the column of the own class in each row.

    Parameters
    ----------
    buffer_BC : NDArray
        float32 logits; overwritten by the methods.
    column_B : numpy.ndarray of int64
        Column of each sample's own class; -1 if another rank has it.
    across : Ranks
        Ranks that have the other classes of these samples.
    stand_in : bool
        Whether this rank has no classes, and the buffer one placeholder column of zeros. The placeholder is never the
        largest logit, does not contribute to the sums, and gets no gradient.
    target_B : NDArray, optional
        (B,) logits of the own classes, also where another rank has them; by default they are summed over the ranks.
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
        """Logits of samples ``begin`` to ``end``, as a view of the buffer."""
        columns, targets = self._column_B[begin:end], self.target_B[begin:end]
        return Logits(self.buffer_BC[begin:end], columns, self.across, self._stand_in, targets)

    def _where_here(self, values_B):
        return values_B if self._all_here else nd.where(self.is_here_B, values_B, nd.zeros_like(values_B))

    def put(self, values_B) -> None:
        """Replace the values of the own classes that this rank has."""
        if self._index_2R is None:
            return
        values_R = values_B if self._all_here else nd.take(values_B, self._here_R)
        buffer_BC, index_2R = self.buffer_BC, self._index_2R
        nd._internal._scatter_set_nd(buffer_BC, values_R, index_2R, shape=buffer_BC.shape, out=buffer_BC)

    def hide(self, value: float) -> None:
        """Set the values of the own classes, or of the placeholder, to one number."""
        if self._stand_in:
            self.buffer_BC[:] = value
        else:
            self.put(nd.full(self.column_B.shape, value, ctx=self.buffer_BC.context))

    def leave_out(self, above: float) -> None:
        """Exclude other classes with a logit above a value from the softmax and the gradient, in place.

        The values of the own classes may be overwritten too; :meth:`put` must restore them. Rows are processed one at a
        time to avoid arrays of size (B, C).
        """
        far_C = nd.full((self.buffer_BC.shape[1],), FAR_BELOW, ctx=self.buffer_BC.context)
        for row in range(self.buffer_BC.shape[0]):
            row_C = self.buffer_BC[row]
            nd.where(row_C > above, far_C, row_C, out=row_C)

    def rival(self) -> tuple:
        """(column of the largest other logit on this rank, the logit), each (B,).

        The values of the own classes are overwritten.
        """
        self.hide(FAR_BELOW)
        rival_B = nd.argmax(self.buffer_BC, axis=1)
        return rival_B, nd.pick(self.buffer_BC, rival_B)


def learn(logits: Logits, targets: Targets, entry, margin: Margin) -> Loss:
    """Apply margin and softmax, and overwrite the logits with their gradient.

    Parameters
    ----------
    logits : Logits
        Logits without margin.
    targets : Targets
        Target cosines of the same samples, as in ``logits.target_B``.
    entry : AsItIs, UnitLength or OwnLength
        Transformed embeddings, from :mod:`insight.objectives.entry`.
    margin : Margin

    Returns
    -------
    Loss
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
    """As :func:`_plain`, for a margin that changes the other logits too. Processes some rows at a time."""
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
        parts[-1][0].wait_to_read()  # MXNet is asynchronous: without it, temporaries of all rows could coexist
    rival_B, rival_share_B, own_share_B = (nd.concat(*part, dim=0) for part in zip(*parts))
    return _joined(logits, margined_B, rival_free_B, rival_B, rival_share_B, own_share_B)


def _joined(logits: Logits, margined_B, rival_free_B, rival_B, rival_share_B, own_share_B) -> _Softmax:
    """Compute loss, probability and hits from the softmax over the classes of this rank.

    With several ranks, the softmax in the buffer is rescaled to the softmax over the classes of all ranks.

    Parameters
    ----------
    margined_B : NDArray
        Logits of the own classes with the margin, also where another rank has the class.
    rival_free_B, rival_B : NDArray
        Largest logits of other classes on this rank, without and with the margin.
    rival_share_B, own_share_B : NDArray
        Softmax values of the class of ``rival_B`` and of the own class; the latter is ignored if another rank has it.
    """
    across = logits.across
    best_B = across.max("fc7/rivals", rival_B)
    free_B = best_B if rival_free_B is rival_B else across.max("fc7/free_rivals", rival_free_B)
    hit_B, hit_free_B = margined_B >= best_B, logits.target_B >= free_B
    if across.size == 1:
        # The own class's probability may underflow; that of the largest logit does not, so use it where they differ.
        loss_B = nd.where(hit_B, -nd.log(own_share_B), rival_B - margined_B - nd.log(rival_share_B))
        return _Softmax(loss_B, own_share_B, hit_B, hit_free_B)
    own_B = logits.is_here_B * (margined_B >= rival_B)  # 1 if the own class has the largest logit on this rank
    highest_B = nd.broadcast_maximum(best_B, margined_B)
    largest_B, share_B = nd.where(own_B, margined_B, rival_B), nd.where(own_B, own_share_B, rival_share_B)
    sum_B = nd.exp(largest_B - highest_B) / share_B  # sum of exp(logit - highest) on this rank
    total_B = across.sum("fc7/sums", sum_B)
    logits.buffer_BC *= (sum_B / total_B).reshape((-1, 1))
    loss_B, probability_B = highest_B - margined_B + nd.log(total_B), nd.exp(margined_B - highest_B) / total_B
    return _Softmax(loss_B, probability_B, hit_B, hit_free_B)


def rows_at_once(batch: int, classes: int) -> int:
    """Number of rows of the logits per call of :meth:`Margin.others`."""
    return min(max(FEWEST_ROWS, projection.BLOCK * batch // classes), batch)


def _along(error_B, targets: Targets, bent: TargetLogit, own: Optional[OwnLoss], entry):
    """Part of d loss / d |e| that does not pass through the logits; None if there is none.

    With logits |e| cos, the target logit with margin is |e| f(cos), and its gradient has two terms:
    d (|e| f(cos)) / d e = f' w^ + (f - f' cos) e^. The first passes through the logits, the second is computed here.
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
