"""Chunks of a list's images in shared memory, and the workers that check them; see :mod:`insight.sets.intake`."""

from __future__ import annotations

import mmap
from typing import Dict, List, NamedTuple, Optional, Tuple, Union

from ..formats.framing import MAGIC
from ..formats.lst import Entry
from .prepare import ImageTarget, Outcome, Prepared, Skip, convert, damage_of

Span = Tuple[int, int]  # offset in the shared memory and size in bytes of an image that is copied unchanged


class Chunk:
    """Consecutive images of a list.

    Attributes
    ----------
    entries : list of Entry
    spans : list of (int, int) or None
        Offset in ``memory`` and size in bytes of each image that is copied unchanged; None for the others.
    memory : memoryview
        Valid until the next chunk is requested. Each span is preceded by ``gap`` writable bytes, and padded with
        zeros to a multiple of 4 bytes.
    copied : bool
        Whether all images are copied and contiguous, and none is damaged or contains RecordIO's magic number.
    """

    def __init__(self, slot: int, memory: memoryview):
        self.slot = slot
        self.memory = memory
        self.entries: List[Entry] = []
        self.spans: List[Optional[Span]] = []
        self.others: Dict[int, Outcome] = {}  # outcomes of images without a span, by position
        self.damage: Dict[int, str] = {}
        self.copied = True
        self.aside = 0  # bytes of files that did not fit into the slot

    @classmethod
    def of(cls, entries: List[Entry], outcomes: List[Outcome]) -> Chunk:
        """A chunk of images that were prepared by another process."""
        chunk = cls(0, memoryview(b""))
        chunk.entries, chunk.spans, chunk.others = entries, [None] * len(entries), dict(enumerate(outcomes))
        chunk.copied = False
        return chunk

    def __len__(self) -> int:
        return len(self.entries)

    def outcome(self, i: int) -> Outcome:
        """Return the outcome of the i-th image, with a copy of its bytes."""
        span = self.spans[i]
        if span is None:
            outcome = self.others[i]
        else:
            outcome = Prepared(bytes(self.memory[span[0] : span[0] + span[1]]))
        return outcome._replace(damage=self.damage[i]) if i in self.damage else outcome

    def settle(self, done: Done) -> None:
        """Apply a worker's results."""
        self.damage.update(done.damage)
        self.others.update(done.others)
        for i in done.others:
            self.spans[i] = None
        if done.others or done.damage or done.magic:
            self.copied = False


class Work(NamedTuple):
    """A worker's task for a chunk. Images are identified by position; plain tuples pickle fast."""

    checks: List[Tuple[int, int, int]]  # images to check: position, offset, size
    checks_aside: List[Tuple[int, bytes]]  # images to check: position, bytes
    files: List[Tuple[int, Union[Span, bytes], Entry]]  # images to convert: position, span or bytes, entry


class Done(NamedTuple):
    """A worker's results for a chunk. Images are identified by position."""

    others: Dict[int, Outcome]  # outcomes of images that are not copied unchanged
    damage: Dict[int, str]  # warnings of the decoder about copied images
    magic: bool  # whether a copied image contains RecordIO's magic number


class Worker:
    """Checks and converts images in the shared memory that the reading process fills."""

    def __init__(self, memory: mmap.mmap, target: ImageTarget):
        self._map = memory
        self._target = target

    @staticmethod
    def load() -> None:
        """Import the modules that every worker needs; see :class:`insight.executor.Workers`."""
        from ..images import decoding  # noqa: F401

    def work(self, work: Work) -> Done:
        """Check and convert the images of a chunk."""
        from ..images.decoding import quick_warning

        mapped = self._map
        done = Done({}, {}, self._has_magic(work.checks))
        for image, begin, size in work.checks:
            data = mapped[begin : begin + size]
            if quick_warning(data):
                self._note_damage(image, data, done)
        for image, data in work.checks_aside:
            self._note_damage(image, data, done)
        for image, source, entry in work.files:
            data = source if isinstance(source, bytes) else mapped[source[0] : source[0] + source[1]]
            try:
                done.others[image] = convert(data, entry, self._target)
            except Skip as skip:
                done.others[image] = skip
        return done

    def _has_magic(self, checks: List[Tuple[int, int, int]]) -> bool:
        """Whether one of these images contains RecordIO's magic number at a multiple of 4 bytes."""
        if not checks:
            return False
        import numpy as np

        begin, end = region([span for _, *span in checks])
        numbers = np.frombuffer(self._map, "<u4", (end - begin) // 4, begin)  # ten times as fast as bytes.find
        return bool((numbers == MAGIC).any())

    @staticmethod
    def _note_damage(image: int, data: bytes, done: Done) -> None:
        try:
            damage = damage_of(data)
        except Skip as skip:
            done.others[image] = skip
        else:
            if damage:
                done.damage[image] = damage


def region(spans: List[Span]) -> Span:
    """Return the span from the first image to the last, including the zeros that pad the last."""
    begin, size = spans[-1]
    return spans[0][0], begin + size + (-size & 3)
