"""Work ahead of its reader: results in the order of their items, in bounded memory, from threads or processes.

    for result in in_order(task, items, workers=4):
        ...

The contract, whatever the workers are:

- results come in the order of the items, and do not depend on the number of workers;
- at most ``ahead`` items are under way or waiting for their turn;
- items are taken in the caller's thread, and only when there is room;
- the first error is that of the earliest item, and comes in its turn, behind the results of the items before;
- when the reader stops, by an error, Ctrl-C or ``close()``, no worker is left.

Processes are forked when :class:`Workers` is made, so tasks may use what the caller had by then, anonymous shared
memory above all. Where a fork would be unsafe (other threads run, or this is not Linux), threads do the same.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from typing import Any, Callable, Deque, Iterable, Iterator, Optional

from .ticket import Ticket

THREADS, PROCESSES = "threads", "processes"
AHEAD = 4  # items per worker, where the caller does not say


def in_order(
    task: Callable[[Any], Any], items: Iterable, workers: int = 1, kind: str = THREADS, ahead: Optional[int] = None
) -> Iterator:
    """Yield ``task(item)`` for each item, in order.

    Parameters
    ----------
    task : callable
        Called with one item, by several workers at once.
    items : iterable
    workers : int
        Threads or processes; 1 or more.
    kind : str
        ``threads``, or ``processes``: items and results are pickled, the task is not.
    ahead : int, optional
        Items under way or waiting, at most; 4 per worker where it is not given.

    Raises
    ------
    Exception
        What the task, or the iteration over the items, raised first, in the order of the items.
    """
    with Workers(task, workers, kind) as pool:
        yield from pool.in_order(items, ahead)


def may_fork() -> bool:
    """Whether a fork of this process is safe: nothing else runs in it that might hold a lock."""
    if sys.platform != "linux":
        return False
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return threading.active_count() == 1


class Workers:
    """Threads or processes that work on one kind of task.

    As a context manager it ends them at the end of the block: at once where the block raises.

    Parameters
    ----------
    task : callable
        Called with one item, by several workers at once.
    count : int
        Of workers.
    kind : str
        ``threads`` or ``processes``.
    prepare : callable, optional
        Called once: by the first process, before the others are forked off it, so that what it loads is loaded
        once; or by the first thread. Its error becomes that of every task.
    """

    def __init__(
        self,
        task: Callable[[Any], Any],
        count: int = 1,
        kind: str = THREADS,
        prepare: Optional[Callable[[], None]] = None,
    ):
        self.count = max(1, count)
        if kind == PROCESSES and may_fork():
            from .processes import Processes as Pool
        else:
            from .threads import Threads as Pool  # type: ignore[assignment]
        self._pool = Pool(task, self.count, prepare or _nothing)

    def submit(self, item: Any) -> Ticket:
        """Give a task away, and take in what is done meanwhile. Does not wait."""
        ticket = self._pool.submit(item)
        self._pool.take_in()
        return ticket

    def wait(self, ticket: Ticket) -> Any:
        """The result of a task, when it is done; raises what the task raised."""
        self._pool.wait(ticket)
        return ticket.get()

    def in_order(self, items: Iterable, ahead: Optional[int] = None) -> Iterator:
        """Yield the results of items; see the module."""
        most = max(1, self.count * AHEAD if ahead is None else ahead)
        waiting: Deque[Ticket] = deque()
        source = iter(items)
        failed: Optional[BaseException] = None
        while True:
            while len(waiting) < most and failed is None:
                try:
                    item = next(source)
                except StopIteration:
                    break
                except Exception as error:  # what was taken before comes first
                    failed = error
                else:
                    waiting.append(self.submit(item))
                    if waiting[0].done:
                        break
            if not waiting:
                break
            yield self.wait(waiting.popleft())
        if failed is not None:
            raise failed

    def close(self, at_once: bool = False) -> None:
        """End the workers, and wait until they have ended.

        Tasks that nobody has begun are dropped. ``at_once`` does not wait for those that were begun, where the
        workers are processes.
        """
        self._pool.close(at_once)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.close(at_once=error is not None)


def _nothing() -> None:
    pass
