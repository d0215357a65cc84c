"""Streaming writer of one record set: image records, then the header and identity records."""

from __future__ import annotations

from typing import List, Optional, Tuple

from ..formats.framing import COPIED_FRAME, INDEXED_FRAME, MAGIC, id2_of
from ..formats.lst import Entry
from ..formats.recordwriter import ShardStream
from .chunk import Chunk
from .prepare import Prepared

INDEXED, PLAIN = "indexed", "plain"
GAPS = {INDEXED: INDEXED_FRAME.size, PLAIN: COPIED_FRAME.size}  # bytes of the frame and header before each image


class SetWriter:
    """Writes images with the keys 1..N (``plain``: 0..N-1).

    Attributes
    ----------
    images : int
        Number of images written so far.
    ranges : list of (int, int)
        (first key, last key + 1) of each complete run of equal labels; keys count from 1.
    labels : set of int
        Distinct labels written so far.
    """

    def __init__(self, stream: ShardStream, layout: str):
        self._stream = stream
        self._plain = layout == PLAIN
        self._gap = GAPS[layout]
        self.images = 0
        self.ranges: List[Tuple[int, int]] = []
        self.labels: set = set()
        self._begin, self._last = 1, None  # first key and label of the current run

    def write(self, entry: Entry, image: Prepared) -> None:
        """Write one image."""
        if entry.label != self._last:
            self._begin_run(entry.label)
        self._stream.room(self.images)
        self.images += 1
        key = self.images
        if self._plain:
            self._stream.write(key - 1, image.payload, entry.label, key - 1, id2_of(entry.label))
        else:
            self._stream.write(key, image.payload, (entry.label, entry.aligned), key, id2_of(entry.label))

    def write_copied(self, chunk: Chunk) -> None:
        """Write a chunk whose images are all copied, directly from the shared memory."""
        begin = 0
        while begin < len(chunk):
            end = min(begin + self._stream.room(self.images), len(chunk))
            self._write_part(chunk, begin, end)
            begin = end

    def _write_part(self, chunk: Chunk, start: int, stop: int) -> None:
        """Write the images ``start`` to ``stop - 1`` of a chunk into the current shard."""
        memory, gap, plain = chunk.memory, self._gap, self._plain
        spans = chunk.spans[start:stop]
        first = spans[0][0] - gap
        shift = self._stream.offset - first
        lines = []
        for entry, (begin, size) in zip(chunk.entries[start:stop], spans):
            label = entry.label
            if label != self._last:
                self._begin_run(label)
            self.images += 1
            key = self.images - plain
            at = begin - gap
            if plain:
                COPIED_FRAME.pack_into(memory, at, MAGIC, 24 + size, 0, label, key, id2_of(label))
            else:
                INDEXED_FRAME.pack_into(memory, at, MAGIC, 32 + size, 2, 0.0, key, id2_of(label), label, entry.aligned)
            lines.append(b"%d\t%d\n" % (key, shift + at))
        self._stream.write_framed(memory[first : begin + size + (-size & 3)], lines)

    def write_identities(self) -> None:
        """End the last run, and write the header and identity records if the layout is ``indexed``."""
        self._begin_run(None)
        if not self._plain:
            self._stream.write_identities(self.ranges, self.images, header_first=True)

    def _begin_run(self, label: Optional[int]) -> None:
        """End the current run and begin one with the label of the next image; None if there is no next image."""
        if self._last is not None:
            self.ranges.append((self._begin, self.images + 1))
        self._begin, self._last = self.images + 1, label
        if label is not None:
            self.labels.add(label)
