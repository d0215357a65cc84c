"""A ring of batch buffers that threads fill ahead of the one who reads them.

A buffer is both the NumPy array that threads write and the NDArray that a network reads; before it
is written again, MXNet's engine is asked to have finished with it. Threads take pieces of batches in
order, a new batch's while the last pieces of the one before are still being made, so none waits for
another at the end of a batch.
"""

from __future__ import annotations

import atexit
import queue
import threading
from collections import deque
from typing import Any, Callable, Iterator, Optional, Sized, Tuple

import numpy as np

from .._mxnet import mx

SLOTS = 4  # two belong to the reader: the batch it has and the one before, which the engine may still read
READERS = 2
ROWS_PER_TASK = 16  # small enough to share a batch among threads, large enough to drown the hand-over


class Slot:
    """One buffer: ``pixels`` for those who write, ``data`` for those who read."""

    def __init__(self, shape: Tuple[int, ...], dtype: str):
        self.pixels = np.zeros(shape, dtype)
        # .view(): MXNet marks the array it is given as read-only
        self.data = mx.nd.from_numpy(self.pixels.view(), zero_copy=True)

    def wait_until_free(self) -> None:
        """Until every operator that reads the buffer has run."""
        mx.base.check_call(mx.base._LIB.MXNDArrayWaitToWrite(self.data.handle))


class Job:
    """One batch on its way: what it is to hold, its buffer, and how much of it is missing."""

    def __init__(self, plan: Sized, slot: Slot):
        self.plan = plan
        self.slot = slot
        self._missing = len(plan)
        self._failed: Optional[Tuple[int, BaseException]] = None
        self._lock = threading.Lock()
        self._complete = threading.Event()

    def tasks(self) -> Iterator[Tuple[Job, int, int]]:
        """Its pieces: (self, first row, last row + 1)."""
        rows = len(self.plan)
        return ((self, begin, min(begin + ROWS_PER_TASK, rows)) for begin in range(0, rows, ROWS_PER_TASK))

    def finish(self, begin: int, end: int, error: Optional[BaseException] = None) -> None:
        """Note that these rows are done with."""
        with self._lock:
            self._missing -= end - begin
            if error is not None and (self._failed is None or begin < self._failed[0]):
                self._failed = begin, error  # the first in the batch, whichever thread was faster
            if not self._missing:
                self._complete.set()

    def wait(self) -> None:
        """Until all rows are there.

        Raises
        ------
        BaseException
            What went wrong in the first piece of the batch that failed.
        """
        self._complete.wait()
        if self._failed is not None:
            raise self._failed[1]


class Ring:
    """Batches, in the order of their plans, made by threads.

    Parameters
    ----------
    plans : iterator of sized
        What each batch is to hold; its length is the number of rows.
    fill : callable (plan, pixels, begin, end)
        Writes rows begin..end-1 of a batch into its buffer; called from several threads at once.
    shape : tuple
        Of a buffer, (B, 3, H, W).
    dtype : str
        Of a buffer.
    workers : int
        Threads.
    release : callable
        Called when the ring is closed: whatever the plans wait for must end.
    """

    def __init__(
        self,
        plans: Iterator[Any],
        fill: Callable,
        shape: tuple,
        dtype: str,
        workers: int,
        release: Callable[[], None] = lambda: None,
    ):
        self._plans = plans
        self._release = release
        self._fill = fill
        self._stopped = False
        self._free: queue.SimpleQueue = queue.SimpleQueue()
        self._ready: queue.SimpleQueue = queue.SimpleQueue()
        self._read: deque = deque()
        for _ in range(SLOTS):
            self._free.put(Slot(shape, dtype))
        self._tasks = self._make_tasks()
        self._take = threading.Lock()
        self._threads = [threading.Thread(target=self._work, name="feed", daemon=True) for _ in range(workers)]
        atexit.register(self.close)  # a thread that outlives the interpreter would abort it
        for thread in self._threads:
            thread.start()

    def get(self) -> Job:
        """The next batch. Its buffer is valid until the next batch but one is asked for.

        Raises
        ------
        BaseException
            Whatever planning or filling that batch raised.
        """
        if len(self._read) == READERS:
            self._free.put(self._read.popleft())
        job = self._ready.get()
        if isinstance(job, BaseException):
            raise job
        job.wait()
        self._read.append(job.slot)
        return job

    def close(self) -> None:
        """Stop the threads and wait until they have."""
        self._stopped = True
        self._free.put(None)
        self._release()
        for thread in self._threads:
            if thread is not threading.current_thread():  # a garbage collection may end up here in any of them
                thread.join()
        atexit.unregister(self.close)

    def _make_tasks(self) -> Iterator[Tuple[Job, int, int]]:
        for plan in self._plans:
            slot = self._free.get()
            if self._stopped:
                return
            slot.wait_until_free()
            job = Job(plan, slot)
            self._ready.put(job)
            yield from job.tasks()

    def _next_task(self) -> Optional[Tuple[Job, int, int]]:
        with self._take:
            try:
                return next(self._tasks, None)
            except BaseException as error:  # handed to the reader, whichever it is; the generator has ended
                self._ready.put(error)
                return None

    def _work(self) -> None:
        while not self._stopped:
            task = self._next_task()
            if task is None:
                return
            job, begin, end = task
            try:
                self._fill(job.plan, job.slot.pixels, begin, end)
            except BaseException as error:  # likewise
                job.finish(begin, end, error)
            else:
                job.finish(begin, end)
