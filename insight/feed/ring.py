"""A ring of batch buffers, filled in advance by worker threads.

A buffer is one block of memory, seen as the NumPy array that the workers write and as the NDArray that the network
reads. Before a buffer is reused, the ring waits until MXNet's engine has finished reading it. Workers take tasks (some
rows of a batch) in order. They start the next batch while the last tasks of the previous one are still running, so no
worker is idle at the end of a batch.
"""

from __future__ import annotations

import atexit
import queue
import threading
from collections import deque
from typing import Any, Callable, Iterator, Optional, Sized, Tuple

import numpy as np

from .._mxnet import mx

SLOTS = 4  # READERS of them are held by the consumer, the others are being filled
READERS = 2  # the current batch and the previous one, which the engine may still read
ROWS_PER_TASK = 16  # small enough to split a batch among threads, large enough to make the queue's overhead negligible


class Slot:
    """One buffer: ``pixels`` is its NumPy array, for the workers; ``data`` its NDArray, for the network."""

    def __init__(self, shape: Tuple[int, ...], dtype: str):
        self.pixels = np.zeros(shape, dtype)
        # a view, because from_numpy() makes the array that it is given read-only
        self.data = mx.nd.from_numpy(self.pixels.view(), zero_copy=True)

    def wait_until_free(self) -> None:
        """Block until every pending operator that reads the buffer has run."""
        mx.base.check_call(mx.base._LIB.MXNDArrayWaitToWrite(self.data.handle))


class Job:
    """A batch that is being filled: its plan, its buffer, and the number of rows that are not done yet."""

    def __init__(self, plan: Sized, slot: Slot):
        self.plan = plan
        self.slot = slot
        self._missing = len(plan)
        self._failed: Optional[Tuple[int, BaseException]] = None
        self._lock = threading.Lock()
        self._complete = threading.Event()

    def tasks(self) -> Iterator[Tuple[Job, int, int]]:
        """The tasks of the batch: (self, first row, last row + 1)."""
        rows = len(self.plan)
        return ((self, begin, min(begin + ROWS_PER_TASK, rows)) for begin in range(0, rows, ROWS_PER_TASK))

    def finish(self, begin: int, end: int, error: Optional[BaseException] = None) -> None:
        """Mark rows begin..end-1 as done, or as failed with ``error``."""
        with self._lock:
            self._missing -= end - begin
            if error is not None and (self._failed is None or begin < self._failed[0]):
                self._failed = begin, error  # the lowest row wins, so that the error does not depend on timing
            if not self._missing:
                self._complete.set()

    def wait(self) -> None:
        """Block until all rows are done.

        Raises
        ------
        BaseException
            The error of the failed task with the lowest rows.
        """
        self._complete.wait()
        if self._failed is not None:
            raise self._failed[1]


class Ring:
    """Batches in the order of their plans, filled by worker threads.

    Parameters
    ----------
    plans : iterator of sized
        The content of each batch; ``len(plan)`` is its number of rows. It is advanced by the worker threads, by one at
        a time.
    fill : callable (plan, pixels, begin, end)
        Writes rows begin..end-1 of a batch into its buffer; called from several threads at once.
    shape : tuple
        Shape of a buffer, (B, 3, H, W).
    dtype : str
        Type of a buffer.
    workers : int
        Number of threads.
    release : callable
        Called by :meth:`close`; must unblock ``plans`` if the iterator waits for something.
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
        """Wait for the next batch and return it. Its buffer stays valid until :meth:`get` is called twice more.

        Raises
        ------
        BaseException
            The error of planning or filling that batch.
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
        """Stop the threads and wait until they have ended."""
        self._stopped = True
        self._free.put(None)
        self._release()
        for thread in self._threads:
            if thread is not threading.current_thread():  # the garbage collector may call close() in a worker
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
            except BaseException as error:  # get() raises it; the generator has ended
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
            except BaseException as error:  # Job.wait() raises it
                job.finish(begin, end, error)
            else:
                job.finish(begin, end)
