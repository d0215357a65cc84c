"""Parallel execution of a task over items, with ordered results and bounded memory.

    for result in in_order(task, items, workers=4):
        ...

All kinds of workers (threads, processes, a Dask cluster) follow these rules:

- results are yielded in the order of the items, and do not depend on the number of workers;
- at most ``ahead`` items are pending, that is, submitted but not yet yielded;
- items are taken from the iterable in the caller's thread, and only if this limit allows it;
- the result of an item that is None is None, without work;
- the error of the earliest failed item is raised in its place, after the results of all items before it;
- no worker is left if the caller stops because of an error, Ctrl-C or ``close()``.

Processes are forked when :class:`Workers` starts, so tasks can use all objects that the caller had then, in
particular anonymous shared memory. Threads are used instead if a fork would be unsafe (other threads are running, or
the system is not Linux).

If the number of workers is a :class:`Cluster`, tasks run on the workers of a Dask cluster, which share the caller's
files; see :mod:`insight.executor.dask`. The task and ``prepare`` are pickled in this case.

To add a kind of worker, add a file with a :class:`~insight.executor.pool.Pool`, and its entry in ``KINDS``.
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
KINDS = {  # module and class, imported on first use
    THREADS: ("threads", "Threads"),
    PROCESSES: ("processes", "Processes"),
    CLUSTER: ("dask", "DaskWorkers"),
}
AHEAD = 4  # default limit of pending items per worker


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
        Called with one item, by several workers concurrently.
    items : iterable
    workers : int or Cluster
        Number of threads or processes, at least 1; or a cluster, for which ``kind`` is ignored.
    kind : str
        ``threads`` or ``processes``. For processes, items and results are pickled, but the task is not.
    ahead : int, optional
        Maximum number of pending items; default: 4 per worker.
    paths : sequence of str
        As in :class:`Workers`.

    Raises
    ------
    Exception
        The error of the earliest item for which the task or the iteration failed.
    """
    with Workers(task, workers, kind, paths=paths) as pool:
        yield from pool.in_order(items, ahead)


def _nothing() -> None:
    pass


def _always() -> bool:
    return True


def may_fork() -> bool:
    """Whether this process can be forked safely: on Linux, without other threads, which may hold locks."""
    if sys.platform != "linux":
        return False
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return threading.active_count() == 1


class Workers:
    """Threads, processes or workers of a cluster that run one task for many items.

    :meth:`start` or the first item starts the workers. As a context manager, it starts them on entry and stops them
    on exit, without waiting for running tasks if the block raises.

    Parameters
    ----------
    task : callable
        Called with one item, by several workers concurrently.
    count : int or Cluster
        Number of workers; or a cluster, for which ``kind`` is ignored.
    kind : str
        ``threads`` or ``processes``.
    prepare : callable, optional
        Called before the first task: by the first process, which then forks the others, so that modules are imported
        once; by the first thread; or by each process of a cluster. If it raises, every task raises its error.
    paths : sequence of str
        Files and folders that tasks read or write. All workers of a cluster must see the same files there.
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
        """Start the workers unless they have been started, so that they load while the caller does other work."""
        if self._pool is None:
            kind = THREADS if self._kind == PROCESSES and not may_fork() else self._kind
            file, name = KINDS[kind]
            pool = getattr(importlib.import_module(f"{__name__}.{file}"), name)
            self._pool = pool(self._task, self._count, self._prepare, self._paths)
        return self._pool

    @property
    def count(self) -> int:
        """Number of workers. For a cluster, this connects to it."""
        return self.start().count if isinstance(self._count, Cluster) else self._count

    def in_order(self, items: Iterable, ahead: Optional[int] = None, room: Callable[[], bool] = _always) -> Iterator:
        """Yield the results of items in order; see the rules of this module.

        Parameters
        ----------
        items : iterable
        ahead : int, optional
            As in :func:`in_order`.
        room : callable
            Returns whether another item may be taken now. This is a further limit, for items that need different
            amounts of memory. It must return True if no item is pending.
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
                except Exception as error:  # raised after the results of the items before
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
        """Stop the workers, and wait until they have ended.

        Tasks that have not begun are dropped. With ``at_once``, worker processes are killed, and tasks that run on a
        cluster are not waited for; threads always finish their current task.
        """
        if self._pool is not None:
            self._pool.close(at_once)

    def _submit(self, item: Any) -> Ticket:
        """Submit an item, and collect results that are ready, without waiting."""
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
