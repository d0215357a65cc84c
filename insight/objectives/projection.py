"""The product of embeddings and class weights, forwards and backwards, a block of classes at a time.

Weights are never copied in normalised form: 1/|w| is folded into the columns of the logits, and of their
gradient. The gradient of the weights is made, projected and stored block by block, so that what this needs
beside it is as small as a block. Besides weights, gradient and logits nothing of their size exists.

B: batch, C: classes, E: embedding size, K: classes of a block.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any, Dict, Tuple

from .._mxnet import mx

nd = mx.nd
BLOCK = 8192  # classes
EPSILON = 1e-10  # L2Normalization's, inside the root: a row of zeros stays one, with a finite gradient


def inverse_norms(rows_NE):
    """(N,) 1 / sqrt(sum of squares + 1e-10) of each row."""
    scratch, sums = Scratch(rows_NE, min(BLOCK, rows_NE.shape[0]) * rows_NE.shape[1]), []
    for begin, end in blocks(rows_NE.shape[0]):
        block_KE = rows_NE[begin:end]
        sums.append(_sums(nd.square(block_KE, out=scratch.shaped(block_KE.shape))))
    return nd.rsqrt(nd.concat(*sums, dim=0).reshape((-1,)) + EPSILON)


def forward(x_BE, weight_CE, bias_C, inverse_C, out) -> None:
    """``out`` (B, C) := x W^T + bias; with ``inverse_C``, each column times it. Either may be None."""
    arrays = (x_BE, weight_CE) if bias_C is None else (x_BE, weight_CE, bias_C)
    nd.FullyConnected(*arrays, no_bias=bias_C is None, num_hidden=weight_CE.shape[0], out=out)
    if inverse_C is not None:
        nd.broadcast_mul(out, inverse_C.reshape((1, -1)), out=out)


def backward(gradient_BC, x_BE, weight_CE, weight_grad_CE, bias_grad_C=None, inverse_C=None, rows_RC=None):
    """Gradients of :func:`forward`: the weights' and the bias's are written, that of x is returned.

    Parameters
    ----------
    gradient_BC : NDArray
        d loss / d logits.
    x_BE : NDArray
        What the forward pass took; R rows more than the batch where ``rows_RC`` is given.
    weight_grad_CE, bias_grad_C : NDArray or None
        Where to write; None: not wanted.
    rows_RC : NDArray or None
        Rows to stand below ``gradient_BC``.

    Returns
    -------
    NDArray (B + R, E)
    """
    (count, size), classes = x_BE.shape, weight_CE.shape[0]
    widest = min(BLOCK, classes)
    total_BE, part_BE = nd.zeros(x_BE.shape, ctx=x_BE.context), nd.empty(x_BE.shape, ctx=x_BE.context)
    columns, products = Scratch(x_BE, count * widest), Scratch(x_BE, widest * size)
    for begin, end in blocks(classes):
        gradient_BK = columns.shaped((count, end - begin))
        nd.slice_axis(gradient_BC, axis=1, begin=begin, end=end, out=gradient_BK[: gradient_BC.shape[0]])
        if rows_RC is not None:
            nd.slice_axis(rows_RC, axis=1, begin=begin, end=end, out=gradient_BK[gradient_BC.shape[0] :])
        if inverse_C is not None:
            nd.broadcast_mul(gradient_BK, inverse_C[begin:end].reshape((1, -1)), out=gradient_BK)
        weight_KE = weight_CE[begin:end]
        if weight_grad_CE is None and bias_grad_C is None:  # half of the work
            nd.dot(gradient_BK, weight_KE, out=part_BE)
            total_BE += part_BE
            continue
        product_KE = products.shaped((end - begin, size))
        weight_grad_KE = product_KE if weight_grad_CE is None else weight_grad_CE[begin:end]
        outputs = [part_BE, weight_grad_KE]
        if bias_grad_C is not None:
            outputs.append(bias_grad_C[begin:end])
        backward_of_product(gradient_BK, x_BE, weight_KE, outputs)
        total_BE += part_BE
        if inverse_C is not None and weight_grad_CE is not None:
            take_across(weight_grad_KE, weight_KE, inverse_C[begin:end], product_KE)
    return total_BE


def take_across(gradient_NE, rows_NE, inverse_N, scratch_NE) -> None:
    """g := g - w^ (w^ . g), what is left of each gradient when its part along w^ = w / |w| is taken off.

    With g already divided by |w|, that is the gradient of w through w^.
    """
    along_N1 = _sums(nd.elemwise_mul(gradient_NE, rows_NE, out=scratch_NE)) * nd.square(inverse_N).reshape((-1, 1))
    nd.elemwise_sub(gradient_NE, nd.broadcast_mul(rows_NE, along_N1, out=scratch_NE), out=gradient_NE)


class Scratch:
    """One buffer for all blocks: MXNet frees later than Python runs on, and a new one each would add up to C."""

    def __init__(self, like, elements: int):
        self._flat = nd.empty((elements,), ctx=like.context)

    def shaped(self, shape):
        """Its first elements, as an array of that shape."""
        return self._flat[: shape[0] * shape[1]].reshape(shape)


class Kept:
    """Arrays by device and name, kept between steps: freed, their place goes to others and the next lie beside it."""

    def __init__(self):
        self._flat: Dict[tuple, Any] = {}

    def get(self, device, name: str, shape: Tuple[int, int], dtype: str = "float32"):
        """An array of that shape; what it holds is left from before."""
        elements, flat = shape[0] * shape[1], self._flat.get((device, name))
        if flat is None or flat.size < elements:
            flat = self._flat[device, name] = nd.empty((elements,), ctx=device, dtype=dtype)
        return flat[:elements].reshape(shape)


def backward_of_product(gradient_MN, left_ME, right_NE, outputs: list) -> None:
    """FullyConnected's own backward operator, that of left right^T.

    ``outputs``: gradients of the left, of the right and, if any, of the bias (N,).

    Autograd would want the forward product of each block once more, and nd.dot, which is another library's
    product, takes twice as long on a CPU. MXNet's generated functions leave out a backward operator's inputs.
    """
    attributes = {"num_hidden": right_NE.shape[0], "no_bias": len(outputs) == 2}
    arrays, keys, values = (gradient_MN, left_ME, right_NE), list(attributes), list(attributes.values())
    nd._internal._imperative_invoke(operator("_backward_FullyConnected"), arrays, keys, values, outputs, False, True)


@functools.cache
def operator(name: str) -> int:
    """Handle of an operator of MXNet's that has no function in Python for these arrays."""
    handle = ctypes.c_void_p()
    mx.base.check_call(mx.base._LIB.NNGetOpHandle(ctypes.c_char_p(name.encode()), ctypes.byref(handle)))
    return handle.value


def _sums(rows_NE):
    """(N, 1) sums of the rows, by a product with ones: MXNet's own sums along an axis take several times as long."""
    ones_1E = nd.ones((1, rows_NE.shape[1]), ctx=rows_NE.context)
    return nd.FullyConnected(rows_NE, ones_1E, no_bias=True, num_hidden=1)


def blocks(count: int):
    """(begin, end) of the blocks of so many classes."""
    return ((begin, min(begin + BLOCK, count)) for begin in range(0, count, BLOCK))
