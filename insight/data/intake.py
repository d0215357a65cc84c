"""The images of lists, read, checked and converted ahead of the writer.

One thread reads files, in the order of the list, into shared memory. Workers, processes where that is safe,
find in it what the decoder complains of, and convert what cannot be copied; only they load NumPy and OpenCV. The
writer takes copied images from the same memory. Chunks come in the order of the list: results do not
depend on the number of workers, and memory is bounded.
"""

from __future__ import annotations

import mmap
import os
from collections import deque
from itertools import islice
from typing import Deque, Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple, Union

from ..executor import PROCESSES, Workers
from ..executor.ticket import Ticket
from ..formats.framing import MAGIC_BYTES
from ..formats.imagehead import header_length
from ..formats.lst import Entry
from .prepare import (
    DECODE,
    READ_FLAGS,
    Outcome,
    Prepared,
    Skip,
    Target,
    convert,
    damage_of,
    read_rest,
    unreadable,
    verbatim,
)

CHUNK = int(os.environ.get("XCHUNK", "64"))
SLOTS, SLOT_BYTES = int(os.environ.get("XSLOTS", "48")), int(os.environ.get("XBYTES", str(1 << 19)))
_LEAST_ROOM = 1 << 14  # a slot with less left is full
_MOST_ASIDE = 1 << 26  # bytes of files that no slot had room for
_ZEROS = (b"", b"\0\0\0", b"\0\0", b"\0")  # by size & 3: up to a multiple of 4
_JPEG_END = b"\xff\xd9"


class Span(NamedTuple):
    """Where in the shared memory the bytes of an image are that is copied as it is."""

    begin: int
    size: int


class Chunk:
    """Consecutive images of a list.

    Attributes
    ----------
    entries : list of Entry
    outcomes : list
        For each a :class:`Span`, :class:`Prepared` or :class:`Skip`.
    memory : memoryview
        What spans are in, valid until the next chunk is asked for. In front of each are ``gap`` bytes that may be
        written to; behind it are zeros up to a multiple of 4 bytes.
    copied : bool
        Every outcome is a span, and these lie one behind the other; none holds RecordIO's magic number.
    """

    def __init__(self, slot: int, memory: memoryview):
        self.slot = slot
        self.memory = memory
        self.entries: List[Entry] = []
        self.outcomes: List[Union[Span, Prepared, Skip, None]] = []
        self.copied = True
        self.aside = 0  # bytes of files that the slot had no room for

    def __len__(self) -> int:
        return len(self.entries)

    def outcome(self, i: int) -> Outcome:
        """What became of the i-th image, with bytes of its own."""
        found = self.outcomes[i]
        if isinstance(found, Span):
            return Prepared(bytes(self.memory[found.begin : found.begin + found.size]))
        return found

    def settle(self, done: _Done) -> None:
        """Take in what a worker found and made."""
        for i, outcome in done.outcomes.items():
            self.outcomes[i] = outcome
        for i, damage in done.damage.items():
            self.outcomes[i] = self.outcome(i)._replace(damage=damage)
        if done.outcomes or done.damage or done.magic:
            self.copied = False


class _Job(NamedTuple):
    """What a worker does with an image of a chunk: checks it, or converts it where there is an entry."""

    image: int
    source: Union[Span, bytes]
    entry: Optional[Entry]


class _Done(NamedTuple):
    outcomes: Dict[int, Outcome]  # of images that are not copied as they are
    damage: Dict[int, str]  # of those that are
    magic: bool  # is in one of them


class Intake:
    """Reads lists of images ahead. A context manager: its workers end with the block.

    Parameters
    ----------
    target : Target
    workers : int
        Processes that check and convert; threads where this process has other threads.
    check : str
        ``decode``: images that are copied are decoded too, for the decoder's complaint; ``headers``: they are not.
    gap : int
        Bytes to leave in front of each image that is copied.
    """

    def __init__(self, target: Target, workers: int = 1, check: str = DECODE, gap: int = 0):
        self._target = target
        self._check = check == DECODE
        self._gap = gap
        self._count = workers
        self._map = mmap.mmap(-1, SLOTS * SLOT_BYTES)
        self._memory = memoryview(self._map)
        self._free = list(range(SLOTS))
        self._aside = 0
        self._heads: Set[bytes] = set()  # of JPEGs that fitted as they are, all of the same length
        self._head_length = 0
        self._workers: Optional[Workers] = None
        if self._check:
            self._start()

    def __enter__(self) -> Intake:
        return self

    def __exit__(self, kind, error, trace) -> None:
        if self._workers is not None:
            self._workers.close(at_once=error is not None)

    def chunks(self, entries: Iterable[Entry], folder: str = "") -> Iterator[Chunk]:
        """Yield the images of a list in its order, chunk by chunk.

        Parameters
        ----------
        entries : iterable of Entry
        folder : str
            Where relative paths that do not exist from the working directory are looked for.
        """
        waiting: Deque[Tuple[Chunk, Optional[Ticket]]] = deque()
        source: Optional[Iterator[Entry]] = iter(entries)
        while True:
            while source is not None and self._free and self._aside < _MOST_ASIDE:
                if waiting and (waiting[0][1] is None or waiting[0][1].done):
                    break
                chunk = Chunk(self._free.pop(), self._memory)
                jobs = self._read(source, chunk, folder)
                if not chunk.entries:
                    source = None
                    self._free.append(chunk.slot)
                    break
                self._aside += chunk.aside
                waiting.append((chunk, self._give(chunk, jobs)))
            if not waiting:
                return
            chunk, ticket = waiting.popleft()
            if ticket is not None:
                chunk.settle(self._workers.wait(ticket))
            self._aside -= chunk.aside
            yield chunk
            self._free.append(chunk.slot)

    def _read(self, source: Iterator[Entry], chunk: Chunk, folder: str) -> List[_Job]:
        """Read files into a chunk's slot; what workers are to do."""
        jobs: List[_Job] = []
        memory, mapped, gap = self._memory, self._map, self._gap
        at = chunk.slot * SLOT_BYTES
        end = at + SLOT_BYTES - 3  # of the last file's zeros
        for entry in islice(source, CHUNK):
            at += gap
            try:
                descriptor = _open(entry.path, folder)
                try:
                    size = os.readv(descriptor, (memory[at:end],))
                    rest = read_rest(descriptor) if at + size == end else b""
                finally:
                    os.close(descriptor)
                outcome = self._sort(entry, Span(at, size), rest, chunk, jobs)
            except OSError as error:
                outcome = unreadable(error)
            except Skip as skip:
                outcome = skip
            else:
                at += size
                if size & 3:
                    mapped[at : at + 4 - (size & 3)] = _ZEROS[size & 3]
                    at += 4 - (size & 3)
            if not isinstance(outcome, Span):
                chunk.copied = False
            chunk.entries.append(entry)
            chunk.outcomes.append(outcome)
            if at + gap + _LEAST_ROOM > end:
                break
        return jobs

    def _sort(self, entry: Entry, span: Span, rest: bytes, chunk: Chunk, jobs: List[_Job]):
        """A file's outcome, None where a worker is to make it; adds what a worker is to do."""
        image = len(chunk.entries)
        mapped, (begin, size) = self._map, span
        end = begin + size
        length = self._head_length
        if size > length and mapped[begin : begin + length] in self._heads and mapped[end - 2 : end] == _JPEG_END:
            if entry.aligned and not rest:  # it begins as one that fitted, and is whole
                jobs.append(_Job(image, span, None))
                return span
        data = mapped[begin:end] + rest
        if not data:
            raise Skip("empty file")
        if not entry.aligned and entry.landmarks is None:
            raise Skip("not aligned, and the list has no landmarks for it")
        copied = entry.aligned and verbatim(data, self._target)
        chunk.aside += len(data) if rest else 0
        jobs.append(_Job(image, data if rest else span, None if copied else entry))
        if not copied:
            return None
        self._learn(data)
        return Prepared(data) if rest else span

    def _learn(self, data: bytes) -> None:
        """Remember the header of a JPEG that fits: files of one encoder begin with the same bytes, up to the scan."""
        length = header_length(data)
        if length == self._head_length and len(self._heads) < CHUNK:
            self._heads.add(data[:length])
        elif length:
            self._head_length = length
            self._heads = {data[:length]}

    def _give(self, chunk: Chunk, jobs: List[_Job]) -> Optional[Ticket]:
        """Give a chunk's jobs to a worker; None where there are none."""
        if not self._check:
            jobs = [job for job in jobs if job.entry is not None]
            chunk.copied = chunk.copied and not any(
                self._map.find(MAGIC_BYTES, begin, begin + size) >= 0 for begin, size in chunk.outcomes
            )
        if not jobs:
            return None
        if self._workers is None:
            self._start()
        return self._workers.submit(jobs)

    def _start(self) -> None:
        self._workers = Workers(self._work, self._count, PROCESSES, _load)

    def _work(self, jobs: List[_Job]) -> _Done:
        """What a worker does."""
        outcomes: Dict[int, Outcome] = {}
        damage: Dict[int, str] = {}
        magic = False
        mapped = self._map
        for image, source, entry in jobs:
            data = source if isinstance(source, bytes) else mapped[source.begin : source.begin + source.size]
            try:
                if entry is not None:
                    outcomes[image] = convert(data, entry, self._target)
                    continue
                complaint = damage_of(data)
                if complaint:
                    damage[image] = complaint
                magic = magic or MAGIC_BYTES in data
            except Skip as skip:
                outcomes[image] = skip
        return _Done(outcomes, damage, magic)


def prepare_all(
    entries: Iterable[Entry], target: Target, folder: str = "", workers: int = 1, check: str = DECODE
) -> Iterator[Tuple[Entry, Outcome]]:
    """Prepare the images of a list, in its order; see :class:`Intake` for the parameters.

    Yields
    ------
    entry, outcome
        ``outcome`` is a Prepared, or the Skip that says why there is none.
    """
    with Intake(target, workers, check) as intake:
        for chunk in intake.chunks(entries, folder):
            for i, entry in enumerate(chunk.entries):
                yield entry, chunk.outcome(i)


def _open(path: str, folder: str) -> int:
    try:
        return os.open(path, READ_FLAGS)
    except OSError:
        beside = os.path.join(folder, path)
        if os.path.isabs(path) or not os.path.exists(beside):
            raise
    return os.open(beside, READ_FLAGS)


def _load() -> None:
    """What each worker needs; see :class:`insight.executor.Workers`."""
    from .. import decoding  # noqa: F401
