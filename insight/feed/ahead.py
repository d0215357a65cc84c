"""Read-ahead: loads the records of later batches into the operating system's page cache, in file order."""

from __future__ import annotations

import queue
import threading
from typing import Dict, Optional

import numpy as np

from .samplers.sampler import Sampler

_POLL_SECONDS = 0.2  # interval at which a waiting consumer checks whether the loader was closed


class _Read:
    """One buffer to read; ``done`` is set when the read has ended, whether it succeeded or failed."""

    def __init__(self, positions: np.ndarray):
        self.positions = positions
        self.done = threading.Event()
        self.error: Optional[BaseException] = None


class ReadAhead:
    """Reads a sampler's buffers in one background thread: while a buffer is in use, the next one is read.

    Parameters
    ----------
    faces : FaceSet
    sampler : Sampler
        If it has no buffers (:meth:`Sampler.buffer` returns None), nothing is read ahead.
    rows : range
        The rows of each batch that this rank uses.
    """

    def __init__(self, faces, sampler: Sampler, rows: range):
        self._faces, self._sampler, self._rows = faces, sampler, rows
        self._waiting: queue.SimpleQueue = queue.SimpleQueue()
        self._reads: Dict[int, _Read] = {}
        self._thread: Optional[threading.Thread] = None
        self._stopped = False

    def reach(self, step: int) -> None:
        """Wait until the images of a step's batch are in memory, and start reading the next buffer.

        Raises
        ------
        OSError
            A file cannot be read.
        """
        number = self._sampler.buffer(step)
        if number is None or self._stopped:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="read-ahead", daemon=True)
            self._thread.start()
        for wanted in range(max(self._reads, default=number - 1) + 1, number + 2):
            self._reads[wanted] = _Read(self._sampler.buffered(wanted, self._rows))
            self._waiting.put(self._reads[wanted])
        for needed in [other for other in self._reads if other <= number]:
            while not self._reads[needed].done.wait(_POLL_SECONDS):
                if self._stopped:
                    return
            if self._reads[needed].error is not None:
                raise self._reads[needed].error
            if needed < number:
                del self._reads[needed]

    def _work(self) -> None:
        for read in iter(self._waiting.get, None):
            try:
                for _ in self._faces.read_ahead(read.positions):
                    if self._stopped:
                        break
            except BaseException as error:  # raised in reach(), in the thread that waits for this buffer
                read.error = error
            read.done.set()

    def close(self) -> None:
        """Stop reading; a waiting :meth:`reach` returns."""
        self._stopped = True
        self._waiting.put(None)
