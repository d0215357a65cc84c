"""Product of embeddings and class weights: forward and backward pass, in blocks of classes.

No normalised copy of the weights is made: the columns of the logits and of their gradient are multiplied by 1 / |w|
instead. The gradient of the weights is computed and projected block by block, so that its temporary arrays have the
size of a block. No arrays of the size of the weights or logits are allocated besides these and the weights' gradient.

B: batch size, C: classes, E: embedding size, K: classes of a block.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any, Dict, Tuple

from .._mxnet import mx

nd = mx.nd
BLOCK = 8192  # classes per block
EPSILON = 1e-10  # as MXNet's L2Normalization, under the root: keeps the gradient of a row of zeros finite


def inverse_norms(rows_NE):
    """(N,) 1 / sqrt(sum of squares + 1e-10) of each row."""
    scratch, sums = Scratch(rows_NE, min(BLOCK, rows_NE.shape[0]) * rows_NE.shape[1]), []
    for begin, end in blocks(rows_NE.shape[0]):
        block_KE = rows_NE[begin:end]
        sums.append(_sums(nd.square(block_KE, out=scratch.shaped(block_KE.shape))))
    return nd.rsqrt(nd.concat(*sums, dim=0).reshape((-1,)) + EPSILON)


def forward(x_BE, weight_CE, bias_C, inverse_C, out) -> None:
    """Write x W^T + bias to ``out`` (B, C), each column multiplied by ``inverse_C``.

    ``bias_C`` and ``inverse_C`` may be None.
    """
    arrays = (x_BE, weight_CE) if bias_C is None else (x_BE, weight_CE, bias_C)
    nd.FullyConnected(*arrays, no_bias=bias_C is None, num_hidden=weight_CE.shape[0], out=out)
    if inverse_C is not None:
        nd.broadcast_mul(out, inverse_C.reshape((1, -1)), out=out)


def backward(gradient_BC, x_BE, weight_CE, weight_grad_CE, bias_grad_C=None, inverse_C=None, rows_RC=None):
    """Backward pass of :func:`forward`: write the gradients of weights and bias, and return that of x.

    Parameters
    ----------
    gradient_BC : NDArray
        d loss / d logits.
    x_BE : NDArray
        Input of the forward pass, followed by R more rows if ``rows_RC`` is given.
    weight_CE : NDArray
        Weights of the forward pass.
    weight_grad_CE, bias_grad_C : NDArray or None
        Arrays to write the gradients to; None: the gradient is not computed.
    inverse_C : NDArray or None
        1 / |w| of each class, as in the forward pass.
    rows_RC : NDArray or None
        Rows to append to ``gradient_BC``.

    Returns
    -------
    NDArray (B + R, E)
        d loss / d x.
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
        if weight_grad_CE is None and bias_grad_C is None:  # one of two products is enough
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
    """Remove from each gradient its component along the row: g := g - w^ (w^ . g), where w^ = w / |w|.

    If g is d loss / d w^ divided by |w|, the result is d loss / d w.
    """
    along_N1 = _sums(nd.elemwise_mul(gradient_NE, rows_NE, out=scratch_NE)) * nd.square(inverse_N).reshape((-1, 1))
    nd.elemwise_sub(gradient_NE, nd.broadcast_mul(rows_NE, along_N1, out=scratch_NE), out=gradient_NE)


class Scratch:
    """Buffer that is reused for all blocks.

    MXNet runs asynchronously: with a new buffer per block, those of all blocks could be allocated at the same time.
    """

    def __init__(self, like, elements: int):
        self._flat = nd.empty((elements,), ctx=like.context)

    def shaped(self, shape):
        """View of its first elements with a 2-D ``shape``."""
        return self._flat[: shape[0] * shape[1]].reshape(shape)


class Kept:
    """Arrays by device and name, reused in all steps to avoid fragmentation of the memory."""

    def __init__(self):
        self._flat: Dict[tuple, Any] = {}

    def get(self, device, name: str, shape: Tuple[int, int], dtype: str = "float32"):
        """Array of that shape, with undefined contents."""
        elements, flat = shape[0] * shape[1], self._flat.get((device, name))
        if flat is None or flat.size < elements:
            flat = self._flat[device, name] = nd.empty((elements,), ctx=device, dtype=dtype)
        return flat[:elements].reshape(shape)


def backward_of_product(gradient_MN, left_ME, right_NE, outputs: list) -> None:
    """Run the backward operator of FullyConnected: the gradients of left right^T + bias.

    ``outputs`` are the arrays to write: the gradients of left (M, E), right (N, E) and optionally of the bias (N,).

    Autograd would repeat the forward product of each block, and nd.dot, which uses another library, takes twice as
    long on a CPU. The functions that MXNet generates for backward operators do not accept their inputs.
    """
    attributes = {"num_hidden": right_NE.shape[0], "no_bias": len(outputs) == 2}
    arrays, keys, values = (gradient_MN, left_ME, right_NE), list(attributes), list(attributes.values())
    nd._internal._imperative_invoke(operator("_backward_FullyConnected"), arrays, keys, values, outputs, False, True)


@functools.cache
def operator(name: str) -> int:
    """Handle of an MXNet operator, for operators without a suitable Python function."""
    handle = ctypes.c_void_p()
    mx.base.check_call(mx.base._LIB.NNGetOpHandle(ctypes.c_char_p(name.encode()), ctypes.byref(handle)))
    return handle.value


def _sums(rows_NE):
    """(N, 1) sums of the rows, as a product with ones, which is several times faster than MXNet's ``sum``."""
    ones_1E = nd.ones((1, rows_NE.shape[1]), ctx=rows_NE.context)
    return nd.FullyConnected(rows_NE, ones_1E, no_bias=True, num_hidden=1)


def blocks(count: int):
    """(begin, end) of each block of ``count`` classes."""
    return ((begin, min(begin + BLOCK, count)) for begin in range(0, count, BLOCK))
