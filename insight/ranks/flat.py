"""Many arrays summed over the ranks in few operations."""

from __future__ import annotations

from typing import Any, Iterator, List, Sequence

from .._mxnet import mx
from .group import Ranks

MOST = 1 << 24  # elements of an operation: of float32, 64 MB and as much again for the result


def sum_in_place(ranks: Ranks, name: str, arrays: Sequence[Any]) -> None:
    """Replace each array by its sum over the ranks.

    Small arrays are joined, large ones cut, in the order in which they are given: how the numbers are added up, and so
    every bit of the result, depends only on the shapes and the number of ranks.

    Parameters
    ----------
    ranks : Ranks
    name : str
    arrays : sequence of NDArray
        Of one type and device, and in the same order on each rank.
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
    """Flat views of all elements, in lists of at most ``MOST`` elements."""
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
