"""Interface of the collective operations between the processes of a run: sums, maxima, gathered rows.

A run of one process uses :class:`insight.ranks.single.Single`, whose operations return their input, so that the same
code serves any number of ranks. A run of several processes uses :class:`insight.ranks.horovod.Horovod`.
"""

from __future__ import annotations

import abc
import json
from typing import Any, List, Tuple

import numpy as np

from ..errors import InsightError

Array = Any  # numpy.ndarray or mxnet.nd.NDArray; a result has the argument's class, dtype and device


class RankFailed(InsightError):
    """Another rank of the run has ended, so this one cannot continue."""


class Ranks(abc.ABC):
    """Base class of the process groups, with ranks 0 to W - 1.

    Every rank must call the same operations in the same order, with the same name and dtype and, except in
    :meth:`gather`, the same shape. Operations are matched by name, and messages about a stall show the name: use one
    name for each place in the code, such as ``fc7/row_maxima``, and the same one in every step.

    Arrays are float32, float64, int32, int64 or uint8, contiguous, with at least one dimension and one element. In
    :meth:`gather`, it is enough that one rank has a row. Arguments are not modified.

    Attributes
    ----------
    rank : int
        Number of this process, 0 <= rank < size.
    size : int
        Number of processes W.
    local_rank, local_size : int
        The same among the processes of this machine.

    Raises
    ------
    RankFailed
        Raised by every operation if another rank has ended.
    """

    rank: int
    size: int
    local_rank: int = 0
    local_size: int = 1

    @abc.abstractmethod
    def sum(self, name: str, array: Array) -> Array:
        """Element-wise sum over the ranks, bit-identical on all of them.

        On the CPU, floats are added in rank order.
        """

    @abc.abstractmethod
    def max(self, name: str, array: Array) -> Array:
        """Element-wise maximum over the ranks."""

    @abc.abstractmethod
    def gather(self, name: str, array: Array) -> Array:
        """Rows of all ranks, concatenated in rank order. The ranks may have different numbers of rows, including 0."""

    @abc.abstractmethod
    def scatter_sum(self, name: str, array: Array) -> Array:
        """This rank's rows of the sum over the ranks: axis 0 is split into W equal parts, and rank r gets part r.

        Raises
        ------
        ValueError
            The number of rows is not a multiple of W.
        """

    @abc.abstractmethod
    def broadcast(self, name: str, array: Array, root: int = 0) -> Array:
        """Array of rank ``root``; the arrays of the other ranks only give shape and dtype."""

    def objects(self, name: str, value: Any) -> List[Any]:
        """Small JSON-serialisable values of all ranks, in rank order. Tuples come back as lists."""
        text = np.frombuffer(json.dumps(value).encode(), np.uint8)
        lengths = self.gather(f"{name}/lengths", np.array([len(text)], np.int64))
        parts = np.split(self.gather(name, text), np.cumsum(lengths)[:-1])
        return [json.loads(part.tobytes()) for part in parts]

    @property
    def hosts(self) -> List[str]:
        """Host name of each rank's machine; an empty string in a run of one process."""
        return [""] * self.size

    def close(self) -> None:  # noqa: B027 (one process has nothing to leave)
        """Leave the group at the end of the work; waits for the other ranks."""

    def fail(self, reason: str) -> None:  # noqa: B027
        """Tell the other ranks why this one ends early."""

    def barrier(self, name: str) -> None:
        """Wait until every rank has called it."""
        self.sum(name, np.zeros(1, np.int32))

    def span(self, count: int) -> Tuple[int, int]:
        """(begin, end) of this rank's contiguous share of ``count`` items; see :func:`span`."""
        return span(count, self.rank, self.size)


def span(count: int, rank: int, size: int) -> Tuple[int, int]:
    """(begin, end) of a rank's contiguous share of the items 0 to count - 1, in rank order.

    The first ``count % size`` ranks have one item more than the others.

    Source: the class ranges of recognition/arcface_torch/partial_fc_v2.py, deepinsight/insightface.

    Raises
    ------
    ValueError
        ``rank`` is not in 0 <= rank < size.
    """
    if not 0 <= rank < size:
        raise ValueError(f"rank {rank} of {size}")
    each, more = divmod(count, size)
    begin = rank * each + min(rank, more)
    return begin, begin + each + (rank < more)
