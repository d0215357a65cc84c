"""The classifier fc7: class weights, and loss and gradient inside the logits' own buffer.

The (B, C) logits are the largest array of a step. They are made once by one matrix
product; margin, softmax and gradient then overwrite them. Nothing else of that size exists:
no one-hot, no copy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._mxnet import mx
from ..errors import InsightError
from ..margins.margin import Margin
from . import projection
from .entry import enter

nd = mx.nd
MAX_CLASSES = 1 << 24  # MXNet's operators take class indices as float32
MAX_ELEMENTS = (1 << 31) - 1  # of one array, in MXNet 1.9.1's builds
FAR_BELOW = -1e30  # a logit that is never the largest


class StepResult(NamedTuple):
    """What one batch gave; on the batch's device, not yet waited for."""

    loss_B: object  # cross entropy after the margin, plus the margin's second loss if it has one; nats
    hit_B: object  # 1 where the top class is the own one, after the margin (InsightFace's acc)
    hit_free_B: object  # the same on the logits without margin
    gradient_BE: object  # float32, d (sum of loss_B) / d embedding


class Classifier:
    """fc7: (B, E) embeddings and (B,) labels to loss and gradients.

    Parameters
    ----------
    margin : Margin
    num_classes : int
        C.
    embedding_size : int
        E.
    use_bias : bool
        Add ``fc7_bias``; only where the margin is not cosine-based.

    Raises
    ------
    InsightError
        More classes, or larger class weights, than MXNet can index.
    """

    def __init__(self, margin: Margin, num_classes: int, embedding_size: int, use_bias: bool = False):
        if use_bias and margin.cosine:
            raise ValueError(f"{margin.name}: a cosine has no bias")
        if num_classes > MAX_CLASSES:
            raise InsightError(f"{num_classes} classes: MXNet's float32 indices are exact up to {MAX_CLASSES}")
        _check_size(num_classes, embedding_size, "class weights (identities x --emb-size)")
        self.margin = margin
        self.num_classes = num_classes
        self.params = mx.gluon.ParameterDict()
        self.weight = self.params.get("fc7_weight", shape=(num_classes, embedding_size))
        self.bias = self.params.get("fc7_bias", shape=(num_classes,), init="zeros") if use_bias else None
        self._buffers: dict = {}

    def at_step(self, step: int) -> None:
        """Call before each step, 0-based and counted over the whole run: annealing is a function of it alone."""
        self.margin.at_step(step)

    def symbol(self, embedding):
        """The graph that is saved: [BlockGrad(embedding), softmax over the logits without margin].

        Outputs, inputs (``data``, ``softmax_label``) and the internals ``fc1_output`` and ``fc7_output`` are
        named as InsightFace's; a margin exists only while training.
        """
        weight = mx.sym.Variable("fc7_weight", shape=self.weight.shape)  # binders can't infer it through its norm
        hidden = embedding
        if self.margin.unit_embedding:
            hidden = mx.sym.L2Normalization(embedding, name="fc1n") * self.margin.options.s
        if self.margin.cosine:
            weight = mx.sym.L2Normalization(weight, name="fc7_weight_n")
        if self.bias is None:
            fc7 = mx.sym.FullyConnected(hidden, weight, no_bias=True, num_hidden=self.num_classes, name="fc7")
        else:
            bias = mx.sym.Variable("fc7_bias")
            fc7 = mx.sym.FullyConnected(hidden, weight, bias, num_hidden=self.num_classes, name="fc7")
        label = mx.sym.Variable("softmax_label")
        softmax = mx.sym.SoftmaxOutput(fc7, label, name="softmax", normalization="valid")
        return mx.sym.Group([mx.sym.BlockGrad(embedding, name="blockgrad0"), softmax])

    def backward(self, embedding_BE, label_B) -> StepResult:
        """Loss and gradients of one batch on one device; gradients of the *sum* over the batch.

        The gradients of ``params`` are written to this device's copies; hand ``gradient_BE`` to
        ``embedding.backward``. Divide by B where the gradients are used (``rescale_grad``): the mean over the
        batch then costs no pass over the logits.

        Parameters
        ----------
        embedding_BE : NDArray (B, E)
            Any float type; not differentiated through here. Computed on in float32.
        label_B : NDArray (B,)
            0 <= label < C, of any number type.

        Raises
        ------
        InsightError
            A label without a class, or more logits than MXNet can index.
        """
        with mx.autograd.pause():
            return self._backward(embedding_BE.astype("float32", copy=False), label_B)

    def _backward(self, embedding_BE, label_B) -> StepResult:
        device = embedding_BE.context
        labels = self._checked(label_B)
        label_B = nd.array(labels, ctx=device, dtype="float32")
        weight_CE = self.weight.data(device)
        bias_C = None if self.bias is None else self.bias.data(device)
        inverse_C = projection.inverse_norms(weight_CE) if self.margin.cosine else None
        entry = enter(embedding_BE, self.margin)
        logits_BC = self._buffer(device, len(labels))
        projection.forward(entry.x_BE, weight_CE, bias_C, inverse_C, out=logits_BC)
        loss_B, hit_B, hit_free_B, residual_B = self._loss(logits_BC, label_B, entry)
        x_BE, rows_2C = entry.x_BE, None
        if self.margin.centre_spread:
            spread_B, rows_2C, x_2E = self._spread(weight_CE, inverse_C, labels, label_B)
            loss_B, x_BE = loss_B + spread_B, nd.concat(x_BE, x_2E, dim=0)
        weight_grad_CE, bias_grad_C = _gradient(self.weight, device), _gradient(self.bias, device)
        gradient_BE = projection.backward(logits_BC, x_BE, weight_CE, weight_grad_CE, bias_grad_C, inverse_C, rows_2C)
        if rows_2C is not None:
            gradient_BE = gradient_BE[: len(labels)]
        return StepResult(loss_B, hit_B, hit_free_B, entry.backward(gradient_BE, residual_B))

    def _loss(self, logits_BC, label_B, entry):
        """(loss, hit, hit without margin, OwnLength's residual), each (B,); the logits become their own gradient."""
        index_2B = nd.stack(nd.arange(label_B.shape[0], ctx=label_B.context), label_B)

        def put(values_B):
            nd._internal._scatter_set_nd(logits_BC, values_B, index_2B, shape=logits_BC.shape, out=logits_BC)

        target_B = nd.pick(logits_BC, label_B)
        cos_B = target_B / entry.scale
        new_B, slope_B = self.margin.target_logit(nd, cos_B)
        margined_B = new_B * entry.scale
        put(nd.full(label_B.shape, FAR_BELOW, ctx=label_B.context))
        rival_B = nd.argmax(logits_BC, axis=1)  # the best of the other classes
        rival_logit_B = nd.pick(logits_BC, rival_B)
        put(margined_B)
        hit_B, hit_free_B = margined_B >= rival_logit_B, target_B >= rival_logit_B
        nd.softmax(logits_BC, out=logits_BC)
        probability_B = nd.pick(logits_BC, label_B)
        # By way of the largest logit, whose probability never underflows: exact where the own class's does.
        rival_loss_B = rival_logit_B - margined_B - nd.log(nd.pick(logits_BC, rival_B))
        loss_B = nd.where(hit_B, -nd.log(probability_B), rival_loss_B)
        error_B = probability_B - 1
        gradient_B = error_B * slope_B
        own = self.margin.own_loss(nd, cos_B)
        if own is not None:
            loss_B, gradient_B = loss_B + own[0], gradient_B + own[1] / entry.scale
        put(gradient_B)
        return loss_B, hit_B, hit_free_B, error_B * (new_B - slope_B * cos_B)

    def _spread(self, weight_CE, inverse_C, labels, label_B):
        """The mean cosine between own and all centres, and its gradient as two more rows of logits and inputs.

        sum_b w^_y . mean(w^) has the derivative count_k mean(w^) + sum_b w^_y / C by centre k.
        """
        weight, device = self.margin.centre_spread, weight_CE.context
        mean_1E = nd.dot(inverse_C.reshape((1, -1)), weight_CE) / self.num_classes
        own_BE = nd.take(weight_CE, label_B) * nd.take(inverse_C, label_B).reshape((-1, 1))
        loss_B = weight * nd.dot(own_BE, mean_1E, transpose_b=True).reshape((-1,))
        sum_1E = nd.sum(own_BE, axis=0, keepdims=True) / self.num_classes
        counts_C = nd.array(np.bincount(labels, minlength=self.num_classes), ctx=device, dtype="float32")
        rows_2C = nd.stack(counts_C, nd.ones_like(counts_C))
        return loss_B, rows_2C, weight * nd.concat(mean_1E, sum_1E, dim=0)

    def _buffer(self, device, rows: int):
        """Room for the logits, kept between steps: freed, its place goes to others and the next lies beside it."""
        held = self._buffers.get(device)
        if held is None or held.size < rows * self.num_classes:
            held = self._buffers[device] = nd.empty((rows * self.num_classes,), ctx=device)
        return held[: rows * self.num_classes].reshape((rows, self.num_classes))

    def _checked(self, label_B) -> np.ndarray:
        """(B,) int64 on the host. MXNet would write outside the logits for a label that has no class."""
        _check_size(label_B.shape[0], self.num_classes, "logits (batch x identities)")
        labels = label_B.asnumpy()
        good = (labels >= 0) & (labels < self.num_classes)
        if not good.all():
            bad = labels[~good][0]
            raise InsightError(f"label {bad:g}: must be in 0..{self.num_classes - 1}; see dataset-check")
        return labels.astype(np.int64)


def _gradient(parameter, device):
    """Where to write the gradient of a parameter on a device; None where it takes none."""
    if parameter is None or parameter.grad_req == "null":
        return None
    if parameter.grad_req != "write":
        raise ValueError(f"{parameter.name}: grad_req {parameter.grad_req!r}; the classifier writes gradients")
    parameter.data(device)._fresh_grad = True  # or a Gluon trainer takes it for one of an earlier step
    return parameter.grad(device)


def _check_size(rows: int, columns: int, what: str) -> None:
    if rows * columns > MAX_ELEMENTS:
        raise InsightError(f"{rows} x {columns} {what}: MXNet indexes at most {MAX_ELEMENTS} elements of an array")
