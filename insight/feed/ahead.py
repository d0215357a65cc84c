"""Reading ahead of batches: images into the system's memory for files, in the order of the .rec."""

from __future__ import annotations

import queue
import threading
from typing import Dict, Optional

import numpy as np

from .samplers.sampler import Sampler

_SECONDS = 0.2  # between looks whether the loader was closed


class _Read:
    """Images to read; ``done`` when that has ended, by an error or not."""

    def __init__(self, positions: np.ndarray):
        self.positions = positions
        self.done = threading.Event()
        self.error: Optional[BaseException] = None


class ReadAhead:
    """One thread that reads the buffers of a sampler; the one after that in use is read meanwhile.

    Parameters
    ----------
    faces : FaceSet
    sampler : Sampler
        Of one that has no buffers, nothing is read.
    rows : range
        Of each batch that are used: a rank's share.
    """

    def __init__(self, faces, sampler: Sampler, rows: range):
        self._faces, self._sampler, self._rows = faces, sampler, rows
        self._waiting: queue.SimpleQueue = queue.SimpleQueue()
        self._reads: Dict[int, _Read] = {}
        self._thread: Optional[threading.Thread] = None
        self._stopped = False

    def reach(self, step: int) -> None:
        """Wait until the images of a step's batch are in memory.

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
            while not self._reads[needed].done.wait(_SECONDS):
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
            except BaseException as error:  # handed to the one who waits
                read.error = error
            read.done.set()

    def close(self) -> None:
        """Stop reading; whoever waits goes on."""
        self._stopped = True
        self._waiting.put(None)
