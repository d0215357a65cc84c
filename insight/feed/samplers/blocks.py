"""Block-wise shuffling, for disks on which random access is slow.

Each epoch divides the set into blocks of consecutive images, at boundaries that differ from epoch to epoch, and
shuffles the blocks. As many blocks as fit into the buffer are read, each sequentially, and the images of the buffer are
shuffled. While they are used, the next buffer is read. The order is less random than that of ``shuffled``: images of
one block are always in the same buffer. ``benchmarks/block_shuffle.py`` measures the effect.
"""

from __future__ import annotations

from typing import Dict

import numpy as np

from ...errors import InsightError
from ...options import Option
from .. import draws
from . import samplers
from .sampler import Sampler

_KEPT = 2  # number of buffers whose order is cached: a batch may use images of two


@samplers.register("blocks")
class Blocks(Sampler):
    """Each image once per epoch, in an order that depends only on (seed, epoch); the last partial batch is dropped."""

    name = "blocks"
    OPTIONS = (
        Option(
            "block_images",
            1024,
            "consecutive images that --sampler blocks reads in one go; more are faster on disks, and mix less",
            holds=lambda images: images > 0,
            rule="must be above 0",
        ),
        Option(
            "buffer_images",
            1 << 18,
            "images that --sampler blocks shuffles together, rounded to whole blocks; two buffers should fit into "
            "memory, as encoded images",
            holds=lambda images: images > 0,
            rule="must be above 0",
        ),
    )

    def __init__(self, *arguments, **values):
        super().__init__(*arguments, **values)
        size = self.options.block_images
        if self.options.buffer_images < size:
            raise InsightError(
                f"--buffer-images {self.options.buffer_images}: smaller than a block (--block-images {size}); use a "
                "larger buffer or smaller blocks"
            )
        self._blocks = -(-len(self.positions) // size)
        self._each = min(self.options.buffer_images // size, self._blocks)  # blocks in a buffer
        self._buffers = -(-self._blocks // self._each)  # in an epoch
        self._shuffled: Dict[int, np.ndarray] = {}  # buffer to its shuffled positions, of the latest buffers
        self._epoch = -1
        self._order = self._ends = np.zeros(0, np.int64)  # order of the blocks; where each buffer ends in the epoch
        if self._buffers == 1:
            self.notes.append("--sampler blocks: the buffer holds the whole set; --sampler shuffled does the same")

    def _begin_epoch(self, epoch: int) -> None:
        """Draw the block boundaries and the order of the blocks, if ``epoch`` is not the current one."""
        if epoch == self._epoch:
            return
        draw = draws.generator(self.seed, epoch, draws.BLOCKS)
        self._shift = int(draw.integers(len(self.positions)))
        self._order = draw.permutation(self._blocks)
        sizes = np.full(self._blocks, self.options.block_images)
        sizes[-1] = len(self.positions) - sizes[:-1].sum()
        edges = np.append(np.arange(0, self._blocks, self._each), self._blocks)
        self._ends = np.concatenate([[0], np.cumsum(sizes[self._order])])[edges][1:]
        self._epoch = epoch

    def buffer(self, step: int) -> int:
        epoch, number = divmod(step, self.batches_per_epoch)
        self._begin_epoch(epoch)
        last = (number + 1) * self.batch_size - 1
        return epoch * self._buffers + int(np.searchsorted(self._ends, last, side="right"))

    def buffered(self, number: int, rows: range) -> np.ndarray:
        positions = self._shuffled_buffer(number)
        row = (self._first(number) + np.arange(len(positions))) % self.batch_size
        return np.sort(positions[(row >= rows.start) & (row < rows.stop)])

    def _first(self, number: int) -> int:
        """Index within its epoch of a buffer's first image."""
        epoch, number = divmod(number, self._buffers)
        self._begin_epoch(epoch)
        return int(self._ends[number - 1]) if number else 0

    def _images(self, number: int) -> np.ndarray:
        """Positions of a buffer's images, in the order of its blocks. A block may wrap around the end of the set."""
        epoch, number = divmod(number, self._buffers)
        self._begin_epoch(epoch)
        size, count = self.options.block_images, len(self.positions)
        blocks = self._order[number * self._each : (number + 1) * self._each]
        rows = (blocks[:, None] * size + np.arange(size)).ravel()
        return self.positions[(rows[rows < count] + self._shift) % count]

    def _shuffled_buffer(self, number: int) -> np.ndarray:
        """Positions of a buffer's images, in the order in which they are used."""
        if number not in self._shuffled:
            images = self._images(number)
            while len(self._shuffled) >= _KEPT:
                del self._shuffled[next(iter(self._shuffled))]  # the oldest
            self._shuffled[number] = draws.generator(self.seed, number, draws.BUFFER).permutation(images)
        return self._shuffled[number]

    def batch(self, step: int) -> np.ndarray:
        epoch, number = divmod(step, self.batches_per_epoch)
        self._begin_epoch(epoch)
        begin, end = number * self.batch_size, (number + 1) * self.batch_size
        buffer = epoch * self._buffers + int(np.searchsorted(self._ends, begin, side="right"))
        parts = []
        while begin < end:
            first = self._first(buffer)
            part = self._shuffled_buffer(buffer)[begin - first : end - first]
            parts.append(part)
            begin += len(part)
            buffer += 1
        return np.concatenate(parts)
