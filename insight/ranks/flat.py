"""Sums of many arrays over the ranks in few operations."""

from __future__ import annotations

from typing import Any, Iterator, List, Sequence

from .._mxnet import mx
from .group import Ranks

MOST = 1 << 24  # elements per operation: 64 MB of float32, and as much again for the result


def sum_in_place(ranks: Ranks, name: str, arrays: Sequence[Any]) -> None:
    """Replace each array by its sum over the ranks.

    Small arrays are concatenated and large ones are split, in the given order. The order of additions, and so every
    bit of the result, depends only on the shapes and the number of ranks.

    Parameters
    ----------
    ranks : Ranks
    name : str
        First part of the operations' names.
    arrays : sequence of NDArray
        All of one dtype and on one device, in the same order on each rank.
    """
    if ranks.size == 1:
        return
    for number, views in enumerate(_groups(arrays)):
        joined = mx.nd.concat(*views, dim=0) if len(views) > 1 else views[0]
        total, begin = ranks.sum(f"{name}/{number}", joined), 0
        for view in views:
            view[:] = total[begin : begin + view.shape[0]]
            begin += view.shape[0]


def _groups(arrays: Sequence[Any]) -> Iterator[List[Any]]:
    """Yield flat views of the arrays, in lists of at most ``MOST`` elements."""
    group: List[Any] = []
    size = 0
    for array in arrays:
        flat = array.reshape((-1,))
        for begin in range(0, flat.shape[0], MOST):
            view = flat[begin : begin + MOST]
            if group and size + view.shape[0] > MOST:
                yield group
                group, size = [], 0
            group.append(view)
            size += view.shape[0]
    if group:
        yield group
