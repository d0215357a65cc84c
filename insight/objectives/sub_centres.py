"""Several centres a class: the largest of its cosines, forwards and backwards, a block of classes at a time.

Sub-centre ArcFace (ECCV 2020; insightface ``recognition/subcenter_arcface`` @60fc1226): cos_c = max_k cos(e, W_ck), of
the own class and of the others; the gradient goes to the centre that gave the maximum, the first of equal ones.

Of the (B, C K) product there is never more than a block. What is kept for the backward pass is, of each centre but the
first, whether it was nearer than all before it, a byte for each logit: the last such centre gave it. The product is
made with the classes as rows, (classes, K B): the products with one centre of each class are then B numbers in a row,
which copy fast.

B: batch, C: classes, K: centres of a class, E: embedding size, N = C K: rows of the weights, those of a class
together; M: classes of a block, R = M K: its rows.
"""

from __future__ import annotations

from .._mxnet import mx
from . import projection
from .projection import Kept, backward_of_product, blocks, operator, take_across

nd = mx.nd
MOST = 255  # centres of a class
ARRAYS = ("best", "other", "nearer")  # (M, B) arrays of a block


def block_elements(classes: int, centres: int, size: int, batch: int) -> int:
    """Elements of what is kept for the blocks: (R, B), (R, E), and :data:`ARRAYS`."""
    return min(projection.BLOCK, classes) * (centres * (size + batch) + len(ARRAYS) * batch)


class SubCentres:
    """The products with K centres of each class, K two or more, and room for them.

    Parameters
    ----------
    centres : int
        K.
    """

    def __init__(self, centres: int):
        self.centres = centres
        self._kept = Kept()

    def forward(self, x_BE, weight_NE, inverse_N, out) -> None:
        """``out`` (B, C) := the largest of the products of x and each class's rows, times 1 / |row|."""
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
        """Gradients of the last :meth:`forward` on x's device: that of the rows is written, that of x is returned.

        Parameters
        ----------
        gradient_BC : NDArray
            d loss / d logits.
        x_BE : NDArray
            What the forward pass took.
        weight_grad_NE : NDArray or None
            Where to write; None: not wanted.

        Returns
        -------
        NDArray (B, E)
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
        """``out`` (R, B) := the gradient of each logit of a block at the centre that gave it, 0 at the others."""
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
        """(C, B) of bool for each centre but the first: whether it was nearer than all before it."""
        return [self._kept.get(device, f"nearer {k}", (classes, count), "bool") for k in range(1, self.centres)]

    def _rows(self, device, name: str, classes: int, length: int):
        return self._kept.get(device, name, (classes * self.centres, length))


def _greater(left, right, out) -> None:
    """``out`` (bool) := left > right. Of mx.nd's own comparisons the results are floats, which take twice as long."""
    nd._internal._imperative_invoke(operator("_npi_greater"), (left, right), [], [], [out], True, False)
