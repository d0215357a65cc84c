"""Consecutive images of a list in shared memory, and a worker's task for them; see :mod:`insight.sets.intake`."""

from __future__ import annotations

import mmap
from typing import Dict, List, NamedTuple, Optional, Tuple, Union

from ..formats.framing import MAGIC
from ..formats.lst import Entry
from .prepare import ImageTarget, Outcome, Prepared, Skip, convert, damage_of

Span = Tuple[int, int]  # begin and size, in the shared memory, of an image that is copied unchanged


class Chunk:
    """Consecutive images of a list.

    Attributes
    ----------
    entries : list of Entry
    spans : list
        Begin in ``memory`` and size of each image that is copied unchanged; None for the others.
    memory : memoryview
        Valid until the next chunk is requested. Before each span are ``gap`` writable bytes, after it zeros up to a
        multiple of 4 bytes.
    copied : bool
        All images are copied and contiguous; none is damaged or contains RecordIO's magic number.
    """

    def __init__(self, slot: int, memory: memoryview):
        self.slot = slot
        self.memory = memory
        self.entries: List[Entry] = []
        self.spans: List[Optional[Span]] = []
        self.others: Dict[int, Outcome] = {}  # outcomes of images without a span, by position
        self.damage: Dict[int, str] = {}
        self.copied = True
        self.aside = 0  # bytes of files that the slot had no room for

    @classmethod
    def of(cls, entries: List[Entry], outcomes: List[Outcome]) -> Chunk:
        """Images that were prepared elsewhere."""
        chunk = cls(0, memoryview(b""))
        chunk.entries, chunk.spans, chunk.others = entries, [None] * len(entries), dict(enumerate(outcomes))
        chunk.copied = False
        return chunk

    def __len__(self) -> int:
        return len(self.entries)

    def outcome(self, i: int) -> Outcome:
        """The outcome of the i-th image; its bytes are a copy."""
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
    """A worker's task for a chunk; images are identified by position. Plain tuples, which pickle fast."""

    checks: List[Tuple[int, int, int]]  # image, and its span: to be checked
    checks_aside: List[Tuple[int, bytes]]  # image, and its bytes: to be checked
    files: List[Tuple[int, Union[Span, bytes], Entry]]  # image, its span or bytes: to be converted


class Done(NamedTuple):
    """A worker's results for a chunk; images are identified by position."""

    others: Dict[int, Outcome]  # outcomes of images that are not copied unchanged
    damage: Dict[int, str]  # warnings of the decoder about copied images
    magic: bool  # whether RecordIO's magic number is in a copied image


class Worker:
    """Checks and converts images in the memory that the reading process fills."""

    def __init__(self, memory: mmap.mmap, target: ImageTarget):
        self._map = memory
        self._target = target

    @staticmethod
    def load() -> None:
        """Import the modules of every worker; see :class:`insight.executor.Workers`."""
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
        """Whether RecordIO's magic number is in one of these images at a multiple of 4."""
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
    """The span from the begin of the first to the end of the last, with its zeros."""
    begin, size = spans[-1]
    return spans[0][0], begin + size + (-size & 3)
