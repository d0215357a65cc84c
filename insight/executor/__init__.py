"""Work ahead of its reader: results in the order of their items, in bounded memory, by threads, processes, a cluster.

    for result in in_order(task, items, workers=4):
        ...

The contract, whatever the workers are:

- results come in the order of the items, and do not depend on the number of workers;
- at most ``ahead`` items are under way or waiting for their turn;
- items are taken in the caller's thread, and only when there is room;
- an item that is None needs no work: its result is None, in its turn;
- the first error is that of the earliest item, and comes in its turn, behind the results of the items before;
- when the reader stops, by an error, Ctrl-C or ``close()``, no worker is left.

Processes are forked when :class:`Workers` starts, so tasks may use what the caller had by then, anonymous shared
memory above all. Where a fork would be unsafe (other threads run, or this is not Linux), threads do the same.

Where a :class:`Cluster` stands for the number of workers, tasks are done by the workers of a Dask cluster, which see
the same files; see :mod:`insight.executor.dask`. Tasks and ``prepare`` are pickled then, too.

A kind of worker is a file here with a :class:`~insight.executor.pool.Pool`, and its entry in ``KINDS``.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections import deque
from typing import Any, Callable, Deque, Iterable, Iterator, Optional, Sequence

from .pool import Cluster, Pool, Ticket, Workforce

THREADS, PROCESSES, CLUSTER = "threads", "processes", "cluster"
KINDS = {  # file and class, loaded when used
    THREADS: ("threads", "Threads"),
    PROCESSES: ("processes", "Processes"),
    CLUSTER: ("dask", "DaskWorkers"),
}
AHEAD = 4  # items per worker, where the caller does not say


def in_order(
    task: Callable[[Any], Any],
    items: Iterable,
    workers: Workforce = 1,
    kind: str = THREADS,
    ahead: Optional[int] = None,
    paths: Sequence[str] = (),
) -> Iterator:
    """Yield ``task(item)`` for each item, in order.

    Parameters
    ----------
    task : callable
        Called with one item, by several workers at once.
    items : iterable
    workers : int or Cluster
        Threads or processes, 1 or more; or a cluster, whatever the kind.
    kind : str
        ``threads``, or ``processes``, where items and results are pickled, the task is not.
    ahead : int, optional
        Items under way or waiting, at most; 4 per worker where it is not given.
    paths : sequence of str
        As in :class:`Workers`.

    Raises
    ------
    Exception
        What the task, or the iteration over the items, raised first, in the order of the items.
    """
    with Workers(task, workers, kind, paths=paths) as pool:
        yield from pool.in_order(items, ahead)


def _nothing() -> None:
    pass


def _always() -> bool:
    return True


def may_fork() -> bool:
    """Whether a fork of this process is safe: nothing else runs in it that might hold a lock."""
    if sys.platform != "linux":
        return False
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return threading.active_count() == 1


class Workers:
    """Threads, processes or a cluster's workers that work on one kind of task.

    They start by :meth:`start`, or with the first task. As a context manager it starts them, and ends them at the end
    of the block: at once where the block raises.

    Parameters
    ----------
    task : callable
        Called with one item, by several workers at once.
    count : int or Cluster
        Number of workers; or a cluster, whatever the kind.
    kind : str
        ``threads`` or ``processes``.
    prepare : callable, optional
        Called once: by the first process, before the others are forked off it, so that what it loads is loaded
        once; or by the first thread; or by each process of a cluster. Its error becomes that of every task.
    paths : sequence of str
        Files and folders that tasks read or write. The workers of a cluster must see the same.
    """

    def __init__(
        self,
        task: Callable[[Any], Any],
        count: Workforce = 1,
        kind: str = THREADS,
        prepare: Optional[Callable[[], None]] = None,
        paths: Sequence[str] = (),
    ):
        self._count = count if isinstance(count, Cluster) else max(1, count)
        self._kind = CLUSTER if isinstance(count, Cluster) else kind
        self._paths = paths
        self._task = task
        self._prepare = prepare or _nothing
        self._pool: Optional[Pool] = None

    def start(self) -> Pool:
        """Start the workers now, while the caller has other things to do; where they have been started, do nothing."""
        if self._pool is None:
            kind = THREADS if self._kind == PROCESSES and not may_fork() else self._kind
            file, name = KINDS[kind]
            pool = getattr(importlib.import_module(f"{__name__}.{file}"), name)
            self._pool = pool(self._task, self._count, self._prepare, self._paths)
        return self._pool

    @property
    def count(self) -> int:
        """Number of workers; of a cluster, once it is connected, which this does."""
        return self.start().count if isinstance(self._count, Cluster) else self._count

    def in_order(self, items: Iterable, ahead: Optional[int] = None, room: Callable[[], bool] = _always) -> Iterator:
        """Yield the results of items; see the module.

        Parameters
        ----------
        items : iterable
        ahead : int, optional
            As in :func:`in_order`.
        room : callable
            Whether another item may be taken now, beside ``ahead``, where items differ in what they hold. It must
            be True when no item is under way.
        """
        most = max(1, self.count * AHEAD if ahead is None else ahead)
        waiting: Deque[Ticket] = deque()
        source = iter(items)
        failed: Optional[BaseException] = None
        while True:
            while len(waiting) < most and failed is None and room():
                try:
                    item = next(source)
                except StopIteration:
                    break
                except Exception as error:  # what was taken before comes first
                    failed = error
                else:
                    waiting.append(self._submit(item))
                    if waiting[0].done:
                        break
            if not waiting:
                break
            ticket = waiting.popleft()
            if not ticket.done:
                self.start().wait(ticket)
            yield ticket.get()
        if failed is not None:
            raise failed

    def close(self, at_once: bool = False) -> None:
        """End the workers, and wait until they have ended.

        Tasks that nobody has begun are dropped. ``at_once`` does not wait for those that were begun, where the
        workers are processes.
        """
        if self._pool is not None:
            self._pool.close(at_once)

    def _submit(self, item: Any) -> Ticket:
        """Give a task away, and take in what is done meanwhile. Does not wait."""
        if item is None:
            return Ticket.done_with(None)
        pool = self.start()
        ticket = pool.submit(item)
        pool.take_in()
        return ticket

    def __enter__(self) -> Workers:
        self.start()
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.close(at_once=error is not None)
