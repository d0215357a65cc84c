"""The classifier fc7: class weights, and loss and gradient inside the logits' own buffer.

The (B, C) logits are the largest array of a step. They are made once by one matrix
product; margin, softmax and gradient then overwrite them, and the buffer goes back
into the product's backward pass as its output gradient. Nothing else of that size exists:
no one-hot, no copy.
"""

from __future__ import annotations

from typing import NamedTuple

from .._mxnet import mx
from .margin import Margin

nd = mx.nd


class StepResult(NamedTuple):
    """What one batch gave; arrays (B,) on the batch's device, not yet waited for."""

    loss_B: object  # cross entropy after the margin, nats
    hit_B: object  # 1 where the top class is the own one, after the margin (InsightFace's acc)
    hit_free_B: object  # the same on the logits without margin


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
    """

    def __init__(self, margin: Margin, num_classes: int, embedding_size: int, use_bias: bool = False):
        self.margin = margin
        self.num_classes = num_classes
        self.params = mx.gluon.ParameterDict()
        self.weight = self.params.get("fc7_weight", shape=(num_classes, embedding_size))
        self.bias = self.params.get("fc7_bias", shape=(num_classes,), init="zeros") if use_bias else None

    def _logits(self, embedding_BE):
        """The (B, C) logits, recorded for :meth:`backward`."""
        weight_CE = self.weight.data(embedding_BE.context)
        if self.margin.cosine:
            embedding_BE = nd.L2Normalization(embedding_BE) * self.margin.options.s
            weight_CE = nd.L2Normalization(weight_CE)
        if self.bias is None:
            return nd.FullyConnected(embedding_BE, weight_CE, no_bias=True, num_hidden=self.num_classes)
        bias_C = self.bias.data(embedding_BE.context)
        return nd.FullyConnected(embedding_BE, weight_CE, bias_C, num_hidden=self.num_classes)

    def symbol(self, embedding):
        """The graph that is saved: [BlockGrad(embedding), softmax over the logits without margin].

        Outputs, inputs (``data``, ``softmax_label``) and the internals ``fc1_output`` and ``fc7_output`` are
        named as InsightFace's; a margin exists only while training.
        """
        weight = mx.sym.Variable("fc7_weight", shape=self.weight.shape)  # binders can't infer it through its norm
        hidden = embedding
        if self.margin.cosine:
            hidden = mx.sym.L2Normalization(embedding, name="fc1n") * self.margin.options.s
            weight = mx.sym.L2Normalization(weight, name="fc7_weight_n")
        if self.bias is None:
            fc7 = mx.sym.FullyConnected(hidden, weight, no_bias=True, num_hidden=self.num_classes, name="fc7")
        else:
            bias = mx.sym.Variable("fc7_bias")
            fc7 = mx.sym.FullyConnected(hidden, weight, bias, num_hidden=self.num_classes, name="fc7")
        label = mx.sym.Variable("softmax_label")
        softmax = mx.sym.SoftmaxOutput(fc7, label, name="softmax", normalization="valid")
        return mx.sym.Group([mx.sym.BlockGrad(embedding, name="blockgrad0"), softmax])

    def backward(self, network, data, label_B) -> StepResult:
        """One forward and backward pass of network and classifier; gradients of the *sum* over the batch.

        Divide by B where the gradients are used (``rescale_grad``): the mean over the batch then
        costs no pass over the logits.

        Parameters
        ----------
        network : callable
            Images to (B, E) embeddings.
        data : NDArray (B, 3, H, W)
        label_B : NDArray (B,) float32
            0 <= label < C.
        """
        scale = self.margin.options.s if self.margin.cosine else 1.0
        with mx.autograd.record():
            logits_BC = self._logits(network(data))
        rows_B = nd.arange(label_B.shape[0], ctx=label_B.context)
        index_2B = nd.stack(rows_B, label_B)

        def put(values_B):
            nd._internal._scatter_set_nd(logits_BC, values_B, index_2B, shape=logits_BC.shape, out=logits_BC)

        top_B = nd.max(logits_BC, axis=1)
        target_B = nd.pick(logits_BC, label_B)
        hit_free_B = target_B >= top_B
        new_B, slope_B = self.margin.target_logit(nd, target_B / scale)
        put(new_B * scale)
        hit_B = new_B * scale >= nd.max(logits_BC, axis=1)
        nd.softmax(logits_BC, out=logits_BC)
        probability_B = nd.pick(logits_BC, label_B)
        put((probability_B - 1) * slope_B)
        logits_BC.backward(logits_BC)
        loss_B = -nd.log(nd.maximum(probability_B, 1e-30))
        return StepResult(loss_B, hit_B, hit_free_B)
