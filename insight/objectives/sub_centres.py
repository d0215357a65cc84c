"""Several centres per class: forward and backward pass of the largest cosine, in blocks of classes.

Sub-centre ArcFace (ECCV 2020; insightface ``recognition/subcenter_arcface`` @60fc1226): cos_c = max_k cos(e, W_ck), for
the own class and all others. The gradient goes to the centre with the largest cosine, the first one in case of ties.

Only one block of the (B, C K) product exists at a time. For the backward pass, the forward pass stores for each logit
and each centre but the first whether that centre was nearer than all before it, as one byte. The last such centre has
the largest cosine. The product is computed with the classes as rows, (M, K B), so that the values of one centre are B
contiguous numbers per class, which are copied fast.

B: batch size, C: classes, K: centres per class, E: embedding size, N = C K: rows of the weights, with the K rows of a
class next to each other; M: classes of a block, R = M K: rows of a block.
"""

from __future__ import annotations

from .._mxnet import mx
from . import projection
from .projection import Kept, backward_of_product, blocks, operator, take_across

nd = mx.nd
MOST = 255  # largest K
ARRAYS = ("best", "other", "nearer")  # names of the (M, B) arrays of a block


def block_elements(classes: int, centres: int, size: int, batch: int) -> int:
    """Number of elements of the buffers for a block: (R, B), (R, E), and :data:`ARRAYS`."""
    return min(projection.BLOCK, classes) * (centres * (size + batch) + len(ARRAYS) * batch)


class SubCentres:
    """Product of embeddings and class weights with several centres per class, with its buffers.

    Parameters
    ----------
    centres : int
        K, 2 or more.
    """

    def __init__(self, centres: int):
        self.centres = centres
        self._kept = Kept()

    def forward(self, x_BE, weight_NE, inverse_N, out) -> None:
        """Write the largest product of x with a class's rows, each times 1 / |row|, to ``out`` (B, C)."""
        count, device, centres = x_BE.shape[0], x_BE.context, self.centres
        nearer_CB = self._nearer(device, out.shape[1], count)
        for begin, end in blocks(out.shape[1]):
            rows, shape = slice(begin * centres, end * centres), (end - begin, count)
            product_RB = self._rows(device, "product", shape[0], count)
            nd.FullyConnected(weight_NE[rows], x_BE, no_bias=True, num_hidden=count, out=product_RB)
            nd.broadcast_mul(product_RB, inverse_N[rows].reshape((-1, 1)), out=product_RB)
            product_MKB = product_RB.reshape((shape[0], centres * count))
            best_MB, other_MB, _ = (self._kept.get(device, name, shape) for name in ARRAYS)
            nd.slice_axis(product_MKB, axis=1, begin=0, end=count, out=best_MB)
            for k in range(1, centres):
                nd.slice_axis(product_MKB, axis=1, begin=k * count, end=(k + 1) * count, out=other_MB)
                _greater(other_MB, best_MB, out=nearer_CB[k - 1][begin:end])
                nd._internal._maximum(best_MB, other_MB, out=best_MB)
            best_BM = nd.transpose(best_MB, out=other_MB.reshape(shape[::-1]))
            nd._internal._slice_assign(out, best_BM, begin=(0, begin), end=(count, end), out=out)

    def backward(self, gradient_BC, x_BE, weight_NE, weight_grad_NE, inverse_N):
        """Backward pass of the last :meth:`forward` on x's device: write the weights' gradient, and return that of x.

        Parameters
        ----------
        gradient_BC : NDArray
            d loss / d logits.
        x_BE, weight_NE, inverse_N : NDArray
            Inputs of the forward pass.
        weight_grad_NE : NDArray or None
            Array to write the gradient to; None: it is not needed.

        Returns
        -------
        NDArray (B, E)
            d loss / d x.
        """
        (count, size), device, centres = x_BE.shape, x_BE.context, self.centres
        classes = gradient_BC.shape[1]
        total_BE, part_BE = nd.zeros(x_BE.shape, ctx=device), nd.empty(x_BE.shape, ctx=device)
        for begin, end in blocks(classes):
            rows = slice(begin * centres, end * centres)
            gradient_RB = self._rows(device, "product", end - begin, count)
            self._to_winners(gradient_BC, begin, end, gradient_RB)
            nd.broadcast_mul(gradient_RB, inverse_N[rows].reshape((-1, 1)), out=gradient_RB)
            weight_RE, product_RE = weight_NE[rows], self._rows(device, "gradient", end - begin, size)
            weight_grad_RE = product_RE if weight_grad_NE is None else weight_grad_NE[rows]
            backward_of_product(gradient_RB, weight_RE, x_BE, [weight_grad_RE, part_BE])
            total_BE += part_BE
            if weight_grad_NE is not None:
                take_across(weight_grad_RE, weight_RE, inverse_N[rows], product_RE)
        return total_BE

    def _to_winners(self, gradient_BC, begin: int, end: int, out) -> None:
        """Write the gradient of each logit of a block to the row of its nearest centre in ``out`` (R, B), else 0."""
        (count, classes), device = gradient_BC.shape, gradient_BC.context
        shape = end - begin, count
        left_MB, own_MB, mask_MB = (self._kept.get(device, name, shape) for name in ARRAYS)
        gradient_BM = nd.slice_axis(gradient_BC, axis=1, begin=begin, end=end, out=own_MB.reshape(shape[::-1]))
        nd.transpose(gradient_BM, out=left_MB)
        out_MKB, nearer_CB = out.reshape((shape[0], self.centres * count)), self._nearer(device, classes, count)
        for k in range(self.centres - 1, -1, -1):
            if k:
                nd.cast(nearer_CB[k - 1][begin:end], dtype="float32", out=mask_MB)
                nd.elemwise_mul(mask_MB, left_MB, out=own_MB)
                nd.elemwise_sub(left_MB, own_MB, out=left_MB)
            place = {"begin": (0, k * count), "end": (shape[0], (k + 1) * count)}
            nd._internal._slice_assign(out_MKB, own_MB if k else left_MB, **place, out=out_MKB)

    def _nearer(self, device, classes: int, count: int) -> list:
        """One (C, B) bool array for each centre but the first: whether it was nearer than all before it."""
        return [self._kept.get(device, f"nearer {k}", (classes, count), "bool") for k in range(1, self.centres)]

    def _rows(self, device, name: str, classes: int, length: int):
        return self._kept.get(device, name, (classes * self.centres, length))


def _greater(left, right, out) -> None:
    """Write left > right to ``out`` (bool). The comparisons of mx.nd return floats and take twice as long."""
    nd._internal._imperative_invoke(operator("_npi_greater"), (left, right), [], [], [out], True, False)
