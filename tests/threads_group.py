"""W ranks as threads of one process, for tests of what is computed; stricter than Horovod.

A call that the ranks do not agree on (name, operation, type, shape) raises AssertionError in all of them.
"""

import functools
import threading

import numpy as np

from insight._mxnet import mx
from insight.ranks.group import Ranks, span

WAIT = 120  # seconds until a rank that the others wait for is given up


class ThreadRanks(Ranks):
    """One rank of :func:`run_ranks`."""

    def __init__(self, rank, size, table, barrier):
        self.rank, self.size, self._table, self._barrier = rank, size, table, barrier
        self.names = []  # of all calls, in order

    def sum(self, name, array):
        return _like(array, functools.reduce(np.add, self._all("sum", name, array)))

    def max(self, name, array):
        return _like(array, functools.reduce(np.maximum, self._all("max", name, array)))

    def gather(self, name, array):
        return _like(array, np.concatenate(self._all("gather", name, array, rows_differ=True)))

    def scatter_sum(self, name, array):
        if len(array) % self.size:
            raise ValueError(f"{name}: {len(array)} rows for {self.size} ranks")
        total = functools.reduce(np.add, self._all("scatter_sum", name, array))
        begin, end = span(len(total), self.rank, self.size)
        return _like(array, total[begin:end])

    def broadcast(self, name, array, root=0):
        return _like(array, self._all("broadcast", name, array)[root])

    def _all(self, operation, name, array, rows_differ=False):
        """The arrays of all ranks, in order."""
        host = array.asnumpy() if isinstance(array, mx.nd.NDArray) else np.array(array, copy=True)
        assert host.ndim >= 1, f"{name}: no dimension"
        assert str(host.dtype) in ("float32", "float64", "int32", "int64", "uint8"), f"{name}: {host.dtype}"
        self.names.append(name)
        shape = host.shape[1:] if rows_differ else host.shape
        self._table[self.rank] = (operation, name, str(host.dtype), shape), host
        self._barrier.wait(WAIT)
        calls = list(self._table)
        self._barrier.wait(WAIT)
        assert len({call for call, _ in calls}) == 1, [call for call, _ in calls]
        return [part for _, part in calls]


def run_ranks(size, work):
    """``work(ranks)`` in ``size`` threads; returns their results in rank order, or raises the first failure's error."""
    table, barrier = [None] * size, threading.Barrier(size)
    results, errors = [None] * size, []

    def one(rank):
        try:
            results[rank] = work(ThreadRanks(rank, size, table, barrier))
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=one, args=(rank,), daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = next((error for error in errors if not isinstance(error, threading.BrokenBarrierError)), None)
    if errors:
        raise first or errors[0]
    return results


def _like(array, value):
    """A new array of the kind and device of another one."""
    value = np.ascontiguousarray(value)
    return (
        mx.nd.array(value, ctx=array.context, dtype=value.dtype) if isinstance(array, mx.nd.NDArray) else value.copy()
    )
