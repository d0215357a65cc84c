"""What the processes of a run say to each other: sums, maxima, gathered rows.

A run of one process has the group :class:`insight.ranks.single.Single`, in which each operation returns its input, so
that the code is the same for any number of ranks. One of several has :class:`insight.ranks.horovod.Horovod`.
"""

from __future__ import annotations

import abc
import json
from typing import Any, List, Tuple

import numpy as np

from ..errors import InsightError

Array = Any  # numpy.ndarray or mxnet.nd.NDArray; a result is of the argument's kind, type and device


class RankFailed(InsightError):
    """Another rank of the run has ended, so that this one cannot go on."""


class Ranks(abc.ABC):
    """The processes of a run, ranks 0 to W - 1.

    Every rank calls the same operations in the same order, each with the same name, type and, but for :meth:`gather`,
    shape. The operation is matched by its name, which is also what the message about a stall shows: one name for each
    place in the code, such as ``fc7/row_maxima``, and the same one in every step.

    Arrays are float32, float64, int32, int64 or uint8, contiguous, of one dimension or more, and have an element or
    more; in :meth:`gather`, one rank or more must have a row. Arguments are not changed.

    Attributes
    ----------
    rank : int
        This process, 0 <= rank < size.
    size : int
        W.
    local_rank, local_size : int
        The same among the processes of this machine.

    Raises
    ------
    RankFailed
        In every operation: another rank has ended.
    """

    rank: int
    size: int
    local_rank: int = 0
    local_size: int = 1

    @abc.abstractmethod
    def sum(self, name: str, array: Array) -> Array:
        """Element by element, the sum over the ranks. All ranks get the same bits.

        On the CPU, floats are added up in the ranks' order.
        """

    @abc.abstractmethod
    def max(self, name: str, array: Array) -> Array:
        """Element by element, the largest over the ranks."""

    @abc.abstractmethod
    def gather(self, name: str, array: Array) -> Array:
        """The rows of all ranks, those of rank 0 first. The ranks may have different numbers of rows, or none."""

    @abc.abstractmethod
    def scatter_sum(self, name: str, array: Array) -> Array:
        """This rank's rows of the sum over the ranks: of W equal parts of axis 0, the one of its number.

        Raises
        ------
        ValueError
            The rows cannot be divided by W.
        """

    @abc.abstractmethod
    def broadcast(self, name: str, array: Array, root: int = 0) -> Array:
        """The array of rank ``root``; the others' only give shape and type."""

    def objects(self, name: str, value: Any) -> List[Any]:
        """The values of all ranks, in their order; small ones that JSON can hold. Tuples come back as lists."""
        text = np.frombuffer(json.dumps(value).encode(), np.uint8)
        lengths = self.gather(f"{name}/lengths", np.array([len(text)], np.int64))
        parts = np.split(self.gather(name, text), np.cumsum(lengths)[:-1])
        return [json.loads(part.tobytes()) for part in parts]

    @property
    def hosts(self) -> List[str]:
        """Names of the ranks' machines."""
        return [""] * self.size

    def close(self) -> None:  # noqa: B027 (one process has nothing to leave)
        """Leave the group when the work is done; waits for the others."""

    def fail(self, reason: str) -> None:  # noqa: B027
        """Tell the others why this rank ends before its work is done."""

    def barrier(self, name: str) -> None:
        """Return when every rank has called it."""
        self.sum(name, np.zeros(1, np.int32))

    def span(self, count: int) -> Tuple[int, int]:
        """(begin, end) of this rank's share of ``count`` things: contiguous, in rank order, at most one apart."""
        return span(count, self.rank, self.size)


def span(count: int, rank: int, size: int) -> Tuple[int, int]:
    """(begin, end) of a rank's share of 0..count-1. The first ``count % size`` ranks have one more than the others.

    Source: the class ranges of recognition/arcface_torch/partial_fc_v2.py, deepinsight/insightface.

    Raises
    ------
    ValueError
        ``rank`` is not one of ``size`` ranks.
    """
    if not 0 <= rank < size:
        raise ValueError(f"rank {rank} of {size}")
    each, more = divmod(count, size)
    begin = rank * each + min(rank, more)
    return begin, begin + each + (rank < more)
