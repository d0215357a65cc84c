"""Worker threads, which are started when tasks need them."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Callable, Deque, List, Sequence, Tuple

from .pool import Pool, Ticket


class Threads(Pool):
    """Worker threads; see :class:`insight.executor.Workers`."""

    def __init__(self, task: Callable[[Any], Any], count: int, prepare: Callable[[], None], paths: Sequence[str] = ()):
        self.count = count
        self._task = task
        self._prepare = _Once(prepare)
        self._change = threading.Condition()
        self._queue: Deque[Tuple[Ticket, Any]] = deque()
        self._threads: List[threading.Thread] = []
        self._idle = 0
        self._closed = False

    def submit(self, item: Any) -> Ticket:
        ticket = Ticket()
        with self._change:
            self._queue.append((ticket, item))
            if self._idle < len(self._queue) and len(self._threads) < self.count:
                thread = threading.Thread(target=self._work, name="worker", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._change.notify_all()
        return ticket

    def take_in(self) -> None:
        """Do nothing: threads settle the tickets themselves."""

    def wait(self, ticket: Ticket) -> None:
        with self._change:
            while not ticket.done:
                self._change.wait()

    def close(self, at_once: bool) -> None:
        """Stop the threads. ``at_once`` has no effect, as a thread cannot be interrupted within its task."""
        with self._change:
            self._closed = True
            self._queue.clear()
            self._change.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._change:
                self._idle += 1
                while not self._queue and not self._closed:
                    self._change.wait()
                self._idle -= 1
                if self._closed:
                    return
                ticket, item = self._queue.popleft()
            value, error = None, None
            try:
                self._prepare()
                value = self._task(item)
            except BaseException as raised:  # raised in the caller's thread
                error = raised
            with self._change:
                ticket.settle(value, error)
                self._change.notify_all()


class _Once:
    """Calls a function in the first thread that needs it, while the others wait. A call that raises is repeated."""

    def __init__(self, function: Callable[[], None]):
        self._function = function
        self._lock = threading.Lock()
        self._done = False

    def __call__(self) -> None:
        if not self._done:
            with self._lock:
                if not self._done:
                    self._function()
                    self._done = True
