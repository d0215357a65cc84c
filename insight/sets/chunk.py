"""Consecutive images of a list in shared memory, and what a worker does with them; see :mod:`insight.sets.intake`."""

from __future__ import annotations

import mmap
from typing import Dict, List, NamedTuple, Optional, Tuple, Union

from ..formats.framing import MAGIC
from ..formats.lst import Entry
from .prepare import ImageTarget, Outcome, Prepared, Skip, convert, damage_of

Span = Tuple[int, int]  # where in the shared memory an image begins that is copied as it is, and its size


class Chunk:
    """Consecutive images of a list.

    Attributes
    ----------
    entries : list of Entry
    spans : list
        Of each image that is copied as it is, where it begins in ``memory``, and its size; None for the others.
    memory : memoryview
        Valid until the next chunk is asked for. In front of each span are ``gap`` bytes that may be written to;
        behind it are zeros up to a multiple of 4 bytes.
    copied : bool
        All images are copied, and lie one behind the other; none is damaged, or holds RecordIO's magic number.
    """

    def __init__(self, slot: int, memory: memoryview):
        self.slot = slot
        self.memory = memory
        self.entries: List[Entry] = []
        self.spans: List[Optional[Span]] = []
        self.others: Dict[int, Outcome] = {}  # what became of those that have no span, by position
        self.damage: Dict[int, str] = {}
        self.copied = True
        self.aside = 0  # bytes of files that the slot had no room for

    def __len__(self) -> int:
        return len(self.entries)

    def outcome(self, i: int) -> Outcome:
        """What became of the i-th image, with bytes of its own."""
        span = self.spans[i]
        if span is None:
            outcome = self.others[i]
        else:
            outcome = Prepared(bytes(self.memory[span[0] : span[0] + span[1]]))
        return outcome._replace(damage=self.damage[i]) if i in self.damage else outcome

    def settle(self, done: Done) -> None:
        """Take in what a worker found and made."""
        self.damage.update(done.damage)
        self.others.update(done.others)
        for i in done.others:
            self.spans[i] = None
        if done.others or done.damage or done.magic:
            self.copied = False


class Work(NamedTuple):
    """What a worker does for a chunk; images go by their position in it. Plain tuples, which are quickly pickled."""

    checks: List[Tuple[int, int, int]]  # image, and its span
    checks_aside: List[Tuple[int, bytes]]  # image, and its bytes
    files: List[Tuple[int, Union[Span, bytes], Entry]]  # image, where its bytes are: to be converted


class Done(NamedTuple):
    others: Dict[int, Outcome]  # of images that are not copied as they are
    damage: Dict[int, str]  # of those that are
    magic: bool  # is in one of them


class Worker:
    """Looks into the memory that the reading process fills."""

    def __init__(self, memory: mmap.mmap, target: ImageTarget):
        self._map = memory
        self._target = target

    @staticmethod
    def load() -> None:
        """Load what every worker needs; see :class:`insight.executor.Workers`."""
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
        """Whether RecordIO's magic number is in one of these images, where it counts: at a multiple of 4."""
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
    """From the begin of the first to the end of the last, zeros included."""
    begin, size = spans[-1]
    return spans[0][0], begin + size + (-size & 3)
