"""One step of a classification: product with the class weights, margin, softmax, and their gradients.

Where the classes are sharded, each rank gathers the samples of all ranks and computes their logits for its own classes.
The gradients of the embeddings are summed over the ranks, and each rank gets those of its own samples. A margin depends
on the target logits only. These are identical on all ranks, and so are the margin's state and its random numbers.

B: batch size per device, or over all ranks where classes are sharded; E: embedding size; D: classes of a step on this
rank; R: rows of the class weights that belong to these classes.
"""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Tuple

import numpy as np

from .._mxnet import mx
from ..margins.margin import Margin
from ..margins.targets import Targets
from ..ranks.group import Ranks
from ..ranks.single import ALONE
from . import centre_spread, cross_entropy, projection
from .class_rows import ClassRows, StepRows
from .entry import enter
from .objective import StepResult
from .sub_centres import SubCentres

nd = mx.nd


class _Share(NamedTuple):
    """Samples of a device and their logits."""

    device: Any
    own: Any  # insight.objectives.entry object of the device's own samples
    entry: Any  # the same of all samples that have logits here
    rows: StepRows
    logits: cross_entropy.Logits
    inverse_R: Any  # 1 / |w|; None if the margin is not cosine-based

    @property
    def cos_B(self):
        return self.logits.target_B / self.entry.scale


class ClassStep:
    """Loss and gradients of a classification step.

    Parameters
    ----------
    margin : Margin
    rows : ClassRows
    seed : int
        Seed of the run, for margins that draw random numbers.
    interclass_filter : float
        As in :class:`insight.objectives.classification.Classification`.

    Attributes
    ----------
    state : dict of str to NDArray
        State of the margin, on the first device.
    """

    def __init__(self, margin: Margin, rows: ClassRows, seed: int, interclass_filter: float):
        self.margin, self.rows, self.seed, self.interclass_filter = margin, rows, seed, interclass_filter
        self.join(ALONE)
        self._several = SubCentres(rows.centres) if rows.centres > 1 else None
        self._kept = projection.Kept()
        self.state: Dict[str, Any] = {}

    def join(self, ranks: Ranks) -> None:
        """Set the ranks of the run; ``rows`` must have joined them already."""
        self.ranks = ranks

    @property
    def _divided(self) -> bool:
        return self.rows.across.size > 1

    def initialize(self, device) -> None:
        """Allocate the margin's state on ``device`` with its initial values."""
        initial = self.margin.initial_state()
        self.state = {name: nd.array(array, ctx=device, dtype="float32") for name, array in initial.items()}

    def learn(self, embeddings: list, label, step: int) -> StepResult:
        """As :meth:`insight.objectives.classification.Classification.learn`; ``label`` has those of all devices."""
        label_B = label.asnumpy().astype(np.int64)
        ends = np.cumsum([embedding.shape[0] for embedding in embeddings])
        labels = np.split(label_B, ends[:-1])
        parts = [self._project(embedding_BE, own_B, step) for embedding_BE, own_B in zip(embeddings, labels)]
        self._update(parts, step)
        results, first = [], 0 if self._divided else self.ranks.rank * int(ends[-1])
        for part in parts:
            results.append(self._backward(part, parts, step, first))
            first += len(part.rows.column_B)
        figures = {
            "loss": [loss.loss_B for loss, _ in results],
            "acc": [loss.hit_B for loss, _ in results],
            "acc_free": [loss.hit_free_B for loss, _ in results],
        }
        for name in results[0][0].figures:
            figures[name] = [loss.figures[name] for loss, _ in results]
        return StepResult([gradient_BE for _, gradient_BE in results], figures)

    def _project(self, embedding_BE, label_B: np.ndarray, step: int) -> _Share:
        embedding_BE, device = embedding_BE.astype("float32", copy=False), embedding_BE.context
        across = self.rows.across
        entry = own = enter(embedding_BE, self.margin)
        label_B = across.gather("fc7/labels", label_B)
        if self._divided:
            entry = enter(across.gather("fc7/embeddings", embedding_BE), self.margin)
        rows = self.rows.of_step(device, label_B, step)
        inverse_R = projection.inverse_norms(rows.weight_RE) if self.margin.cosine else None
        logits_BD = self._kept.get(device, "logits", (len(label_B), rows.weight_RE.shape[0] // self.rows.centres))
        if self._several:
            self._several.forward(entry.x_BE, rows.weight_RE, inverse_R, out=logits_BD)
        else:
            projection.forward(entry.x_BE, rows.weight_RE, rows.bias_D, inverse_R, out=logits_BD)
        logits = cross_entropy.Logits(logits_BD, rows.column_B, across, rows.stand_in)
        return _Share(device, own, entry, rows, logits, inverse_R)

    def _update(self, parts: list, step: int) -> None:
        """Update the margin's state with the targets of all devices and ranks, on the first device.

        The state is left unchanged if a cosine is not finite: in float16 training such a step is skipped, and must not
        destroy the state.
        """
        if not self.state:
            return
        device = parts[0].device

        def lengths():
            return self._everyone("margin/lengths", [part.entry.lengths() for part in parts], device)

        cos_B = self._everyone("margin/cosines", [part.cos_B for part in parts], device)
        state = self.margin.update(Targets(nd, cos_B, lengths, step, self.seed, 0, self.state))
        usable_1 = nd.min(nd.contrib.isfinite(cos_B))
        for name, array in self.state.items():
            usable = nd.broadcast_like(usable_1.reshape((1,) * array.ndim), array)
            array[:] = nd.where(usable, state[name], array)

    def _backward(self, part: _Share, parts: list, step: int, first: int) -> Tuple[cross_entropy.Loss, Any]:
        """Return the loss and the gradient of the device's embeddings; write the gradients of the parameters."""
        device, entry, logits = part.device, part.entry, part.logits
        state = {name: array.as_in_context(device) for name, array in self.state.items()}

        def everyone():
            return self._everyone("margin/everyone", [one.cos_B for one in parts], device)

        targets = Targets(nd, part.cos_B, entry.lengths, step, self.seed, first, state, everyone)
        if self.interclass_filter < 1:
            logits.leave_out(self.interclass_filter * entry.scale)
        loss = cross_entropy.learn(logits, targets, entry, self.margin)
        loss, gradient_BE = self._through_product(part, loss)
        self.rows.learned(part.rows, device)
        gradient_BE = self.rows.across.scatter_sum("fc7/gradients", gradient_BE)
        loss = _own(loss, *self.rows.across.span(len(part.rows.column_B)))
        return loss, part.own.backward(gradient_BE, loss.along_B)

    def _through_product(self, part: _Share, loss: cross_entropy.Loss) -> Tuple[cross_entropy.Loss, Any]:
        """Return the loss, with the centre spread loss added, and this rank's part of d loss / d x.

        The gradients of the parameters are written to their arrays.
        """
        x_BE, rows, gradient_BD, inverse_R = part.entry.x_BE, part.rows, part.logits.buffer_BC, part.inverse_R
        weight_RE, weight_grad_RE = rows.weight_RE, rows.weight_grad_RE
        if self._several:
            return loss, self._several.backward(gradient_BD, x_BE, weight_RE, weight_grad_RE, inverse_R)
        count, weight, rows_2D = x_BE.shape[0], self.margin.centre_spread, None
        if weight:
            classes = 0 if rows.stand_in else weight_RE.shape[0]
            spread = centre_spread.learn(weight, weight_RE, inverse_R, rows.column_B, self.rows.across, classes)
            spread_B, rows_2D, x_2E = spread
            loss, x_BE = loss._replace(loss_B=loss.loss_B + spread_B), nd.concat(x_BE, x_2E, dim=0)
        gradient_BE = projection.backward(
            gradient_BD, x_BE, weight_RE, weight_grad_RE, rows.bias_grad_D, inverse_R, rows_2D
        )
        return loss, gradient_BE[:count]

    def _everyone(self, name: str, arrays: list, device):
        """Concatenate per-sample values of all devices and ranks, in order, on one device.

        Where classes are sharded, every rank has the values of all samples already.
        """
        joined = nd.concat(*[array.as_in_context(device) for array in arrays], dim=0)
        return joined if self._divided else self.ranks.gather(name, joined)


def _own(loss: cross_entropy.Loss, begin: int, end: int) -> cross_entropy.Loss:
    """Loss of samples ``begin`` to ``end``. Figures of the margin's state are not per sample, and are kept."""
    count = loss.loss_B.shape[0]

    def cut(array):
        return array[begin:end] if array is not None and array.shape[0] == count else array

    figures = {name: cut(array) for name, array in loss.figures.items()}
    return cross_entropy.Loss(*map(cut, loss[:-1]), figures)
