"""REC -> BATCH: threads decode into a ring of preallocated batches that MXNet reads in place.

OpenCV decodes with Python's lock released, so threads suffice and records stay one shared
memory map. A batch's float32 buffer is both the NumPy array that threads fill and the
NDArray that the network reads; before a slot is filled again, MXNet's engine is asked to
have finished with it.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Iterator, NamedTuple

import numpy as np

from .._mxnet import mx
from ..errors import InsightError
from ..image import decode_bgr
from . import sampler

IMAGES_PER_TASK = 16  # small enough to share a batch among threads, large enough to drown the hand-over
SLOTS = 4


class Batch(NamedTuple):
    """One batch; valid until the loader is asked for the next but one."""

    data: object  # NDArray (B, 3, H, W) float32, RGB, 0..255
    label: object  # NDArray (B,) float32
    indices: np.ndarray  # (B,) int64 positions in the face set


class _Slot:
    def __init__(self, batch_size: int, image_size: tuple):
        self.pixels = np.zeros((batch_size, 3, *image_size), np.float32)
        # .view(): MXNet marks the array it is given as read-only
        self.data = mx.nd.from_numpy(self.pixels.view(), zero_copy=True)
        self.data_pointer = self.data.handle

    def wait_until_free(self) -> None:
        """Until every operator that reads the buffer has run."""
        mx.base.check_call(mx.base._LIB.MXNDArrayWaitToWrite(self.data_pointer))


class Loader:
    """Endless shuffled epochs over a face set; the last partial batch of each is dropped.

    Parameters
    ----------
    faces : FaceSet
    batch_size : int
        B, at most the number of images.
    seed : int
    mirror : bool
        Flip each image left to right with probability 1/2 (``--rand-mirror``).
    workers : int
        Decoding threads.

    Attributes
    ----------
    waited : float
        Seconds that the consumer has waited for data so far.
    """

    def __init__(self, faces, batch_size: int, seed: int = 0, mirror: bool = True, workers: int = 2):
        if batch_size > len(faces):
            raise InsightError(
                f"--per-batch-size {batch_size}: {faces.rec_path} holds only {len(faces)} images; use at most that many"
            )
        self.faces = faces
        self.batch_size = batch_size
        self.seed = seed
        self.mirror = mirror
        self.workers = max(1, workers)
        self.batches_per_epoch = len(faces) // batch_size
        self.waited = 0.0

    def batches(self, step: int = 0) -> Iterator[Batch]:
        """Batches from global step ``step`` (0-based) on, without end."""
        ready: queue.Queue = queue.Queue(maxsize=SLOTS - 2)  # one slot is read, one is filled
        stop = threading.Event()
        filler = threading.Thread(target=self._fill, args=(step, ready, stop), daemon=True)
        filler.start()
        try:
            while True:
                asked = time.perf_counter()
                item = ready.get()
                self.waited += time.perf_counter() - asked
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            while filler.is_alive():  # it may stand in ready.put
                _drain(ready)
                filler.join(0.05)

    def _fill(self, step: int, ready: queue.Queue, stop: threading.Event) -> None:
        slots = itertools.cycle([_Slot(self.batch_size, self.faces.image_size) for _ in range(SLOTS)])
        try:
            with ThreadPoolExecutor(self.workers) as pool:
                for indices, mirrored in self._plan(step):
                    if stop.is_set():
                        return
                    slot = next(slots)
                    slot.wait_until_free()
                    self._decode(pool, slot.pixels, indices, mirrored)
                    label = mx.nd.array(self.faces.labels[indices].astype(np.float32))
                    ready.put(Batch(slot.data, label, indices))
        except BaseException as error:  # handed to the consumer, whichever it is
            ready.put(error)

    def _plan(self, step: int) -> Iterator[tuple]:
        count = len(self.faces)
        for epoch in itertools.count(step // self.batches_per_epoch):
            order = sampler.epoch_order(self.seed, epoch, count)
            mirrored = sampler.mirror_flags(self.seed, epoch, count) & self.mirror
            first = step % self.batches_per_epoch if epoch == step // self.batches_per_epoch else 0
            for batch in range(first, self.batches_per_epoch):
                indices = order[batch * self.batch_size : (batch + 1) * self.batch_size]
                yield indices, mirrored[indices]

    def _decode(self, pool: ThreadPoolExecutor, pixels: np.ndarray, indices: np.ndarray, mirrored: np.ndarray) -> None:
        def task(start: int) -> None:
            for row in range(start, min(start + IMAGES_PER_TASK, len(indices))):
                self._decode_one(pixels[row], int(indices[row]), bool(mirrored[row]))

        list(pool.map(task, range(0, len(indices), IMAGES_PER_TASK)))

    def _decode_one(self, out: np.ndarray, index: int, mirrored: bool) -> None:
        name = f"{self.faces.rec_path} record {self.faces.images[index]}"
        bgr = decode_bgr(self.faces.payload(index), name)
        if bgr.shape[:2] != self.faces.image_size:
            height, width = self.faces.image_size
            raise InsightError(
                f"{name}: the set says {width}x{height} (property), the image is {bgr.shape[1]}x{bgr.shape[0]}; "
                "pack the set again with face2rec --image-size"
            )
        if mirrored:
            bgr = bgr[:, ::-1]
        for channel in range(3):
            out[channel] = bgr[:, :, 2 - channel]


def _drain(ready: queue.Queue) -> None:
    try:
        while True:
            ready.get_nowait()
    except queue.Empty:
        pass
