"""Reading, checking and converting the images of a list ahead of the writer.

One thread reads the files into shared memory, in the order of the list. Workers (processes where a fork is safe)
decode the images there to detect damage, and convert those that cannot be copied; only workers import NumPy and
OpenCV. The writer takes copied images directly from the shared memory. Chunks are yielded in the order of the list.
The result does not depend on the number of workers, and memory is bounded.
"""

from __future__ import annotations

import mmap
import os
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Deque, Iterable, Iterator, Optional, Set, Tuple, Union

from ..executor import PROCESSES, Cluster, Workers, Workforce
from ..files import reading as files
from ..files.places import Places
from ..formats.framing import MAGIC_BYTES
from ..formats.lst import Entry
from ..images.header import header_length
from .chunk import Chunk, Span, Work, Worker, region
from .prepare import DECODE, ImageTarget, Outcome, Prepared, Skip, verbatim

if TYPE_CHECKING:
    from .cluster_intake import ClusterIntake

CHUNK = 64  # maximum number of images per chunk, which is one task of a worker
SLOTS, SLOT_BYTES = 64, 1 << 19  # of the shared memory; a slot holds a chunk
_ROOM = 1 << 14, 1 << 17  # a slot is full if it cannot hold the largest file so far, clipped to these bounds (bytes)
_MOST_ASIDE = 1 << 26  # limit of the bytes of files that do not fit into their slots
_ZEROS = (b"", b"\0\0\0", b"\0\0", b"\0")  # padding to a multiple of 4 bytes, by size & 3
_JPEG_END = b"\xff\xd9"


class Intake:
    """Reads lists of images ahead of the writer. A context manager, which stops the workers at its exit.

    Parameters
    ----------
    target : ImageTarget
    workers : int
        Number of processes that check and convert images; threads if this process has other threads.
    check : str
        ``decode`` also decodes images that are copied, to detect damage; ``headers`` does not.
    gap : int
        Number of bytes to reserve before each image that is copied.
    """

    def __init__(self, target: ImageTarget, workers: int = 1, check: str = DECODE, gap: int = 0):
        self._target = target
        self._check = check == DECODE
        self._gap = gap
        self._map = mmap.mmap(-1, SLOTS * SLOT_BYTES)
        self._memory = memoryview(self._map)
        self._free = list(range(SLOTS))
        self._aside = 0
        self._largest = _ROOM[0]  # size of the largest file so far, within _ROOM
        self._heads: Set[bytes] = set()  # headers of JPEGs that were copied, all of one length
        self._head_length = 0
        worker = Worker(self._map, target)
        self._workers = Workers(worker.work, workers, PROCESSES, worker.load)
        if self._check:
            self._workers.start()  # workers import their modules while the first files are read

    def __enter__(self) -> Intake:
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._workers.close(at_once=error is not None)

    def chunks(self, entries: Iterable[Entry], places: Optional[Places] = None) -> Iterator[Chunk]:
        """Yield the images of a list in order, in chunks.

        Parameters
        ----------
        entries : iterable of Entry
        places : Places, optional
            Folders in which files are searched; default: the working directory.
        """
        waiting: Deque[Chunk] = deque()
        work = self._work(iter(entries), places or Places(), waiting)
        for done in self._workers.in_order(work, SLOTS, self._has_room):
            chunk = waiting.popleft()
            if done is not None:
                chunk.settle(done)
            self._aside -= chunk.aside
            yield chunk
            self._free.append(chunk.slot)

    def _has_room(self) -> bool:
        return bool(self._free) and self._aside < _MOST_ASIDE

    def _work(self, source: Iterator[Entry], places: Places, chunks: Deque[Chunk]) -> Iterator[Optional[Work]]:
        """Read the list in chunks, append them to ``chunks``, and yield the work of each; None if there is none."""
        while True:
            chunk = Chunk(self._free.pop(), self._memory)
            work = self._read(source, chunk, places)
            if not chunk.entries:
                self._free.append(chunk.slot)
                return
            self._aside += chunk.aside
            chunks.append(chunk)
            yield self._left_to_do(chunk, work)

    def _read(self, source: Iterator[Entry], chunk: Chunk, places: Places) -> Work:
        """Read files into a chunk's slot until it is full; return the work for a worker."""
        work = Work([], [], [])
        memory, mapped, gap = self._memory, self._map, self._gap
        at = chunk.slot * SLOT_BYTES
        end = at + SLOT_BYTES - 3  # leaves room for the padding of the last file
        for image, entry in enumerate(islice(source, CHUNK)):
            mapped[at : at + gap] = bytes(gap)  # erase the magic number of an earlier header
            at += gap
            span = None
            try:
                size, rest = _load(entry.path, places, memory[at:end])
                if size > self._largest:
                    self._largest = min(size + len(rest), _ROOM[1])
                span = self._sort(image, entry, (at, size), rest, chunk, work)
            except files.Unreadable as error:
                chunk.others[image] = Skip(str(error))
            except Skip as skip:
                chunk.others[image] = skip
            else:
                at += size
                if size & 3:
                    mapped[at : at + 4 - (size & 3)] = _ZEROS[size & 3]
                    at += 4 - (size & 3)
            chunk.entries.append(entry)
            chunk.spans.append(span)
            if at + gap + self._largest > end:
                break
        chunk.copied = None not in chunk.spans
        return work

    def _sort(self, image: int, entry: Entry, span: Span, rest: bytes, chunk: Chunk, work: Work) -> Optional[Span]:
        """Add a file to ``work``; return its span if it is copied from the slot, otherwise None."""
        mapped, (begin, size) = self._map, span
        end, length = begin + size, self._head_length
        if size > length and mapped[begin : begin + length] in self._heads and mapped[end - 2 : end] == _JPEG_END:
            if entry.aligned and not rest:  # same header as a file that was copied, and not truncated
                work.checks.append((image, begin, size))
                return span
        data = mapped[begin:end] + rest
        if not data:
            raise Skip("empty file")
        if not entry.aligned and entry.landmarks is None:
            raise Skip("not aligned, and the list has no landmarks for it")
        chunk.aside += len(data) if rest else 0
        if not entry.aligned or not verbatim(data, self._target):
            work.files.append((image, data if rest else span, entry))
            return None
        self._learn(data)
        if rest:
            chunk.others[image] = Prepared(data)
            work.checks_aside.append((image, data))
            return None
        work.checks.append((image, begin, size))
        return span

    def _learn(self, data: bytes) -> None:
        """Remember the header of a copied JPEG: files of one encoder often have identical bytes before the scan."""
        length = header_length(data)
        if length == self._head_length and len(self._heads) < CHUNK:
            self._heads.add(data[:length])
        elif length:
            self._head_length = length
            self._heads = {data[:length]}

    def _left_to_do(self, chunk: Chunk, work: Work) -> Optional[Work]:
        """Return the work that a worker must do for a chunk; None if there is none."""
        if not self._check:
            work.checks.clear()
            work.checks_aside.clear()
            chunk.copied = chunk.copied and self._map.find(MAGIC_BYTES, *region(chunk.spans)) < 0
        return work if any(work) else None


def open_intake(
    target: ImageTarget, workers: Workforce = 1, check: str = DECODE, gap: int = 0
) -> Union[Intake, ClusterIntake]:
    """Open an :class:`Intake` with workers of this machine, or a :class:`ClusterIntake` for a cluster."""
    if isinstance(workers, Cluster):
        from .cluster_intake import ClusterIntake

        return ClusterIntake(target, workers, check)
    return Intake(target, workers, check, gap)


def prepare_all(
    entries: Iterable[Entry],
    target: ImageTarget,
    places: Optional[Places] = None,
    workers: Workforce = 1,
    check: str = DECODE,
) -> Iterator[Tuple[Entry, Outcome]]:
    """Prepare the images of a list, in order; see :class:`Intake` for the parameters.

    Yields
    ------
    entry, outcome
        ``outcome`` is a Prepared, or a Skip with the reason for which the image is unusable.
    """
    with open_intake(target, workers, check) as intake:
        for chunk in intake.chunks(entries, places):
            for i, entry in enumerate(chunk.entries):
                yield entry, chunk.outcome(i)


def _load(name: str, places: Places, room: memoryview) -> Tuple[int, bytes]:
    """Read a file from the first place that has it; return the number of bytes in ``room``, and those that exceed it.

    Raises
    ------
    files.Unreadable
        No place has the file, or it cannot be read.
    InsightError
        The file system or the network fails.
    """
    try:
        return files.read_into(places.first(name), room)
    except files.Unreadable as error:
        others = islice(places.paths(name), 1, None)
        path = next(filter(os.path.isfile, others), None)
        if path is None:
            if str(error) == files.MISSING and not os.path.isabs(name):
                raise files.Unreadable(f"{error} {places.describe()}") from None
            raise
    return files.read_into(path, room)
