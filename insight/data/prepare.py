"""From an image file to the bytes that go into a record or a verification set.

A valid upright 3-channel JPEG of the right size goes in byte for byte; that is decided by its
markers, without decoding. Everything else that is an image is decoded, set right and encoded
again, and what was done to it is told. OpenCV is loaded when the first such file comes.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Deque, Iterable, Iterator, NamedTuple, Optional, Tuple, Union

from .. import files
from ..errors import InsightError
from ..formats.imagehead import is_plain_png, read_jpeg_head, suffix_of
from ..formats.imagekind import HEAD_BYTES, kind_of
from ..formats.lst import Entry
from ..formats.places import Places

DEFAULT_SIZE = (112, 112)
_DEFAULT_QUALITY = {".jpg": 95, ".png": 3}
RESIZED = "resized from"
MISSING = files.MISSING
_AHEAD = 16  # images per worker that may wait for their turn


class Skip(InsightError):
    """This image cannot be used; the message is the reason, without the path."""


@dataclass(frozen=True)
class Target:
    """What images are made to be: (height, width), and how those that change are encoded."""

    size: Tuple[int, int] = DEFAULT_SIZE
    suffix: str = ".jpg"
    quality: Optional[int] = None  # JPEG 1..100, 95 if None; PNG compression 0..9, 3 if None

    def __post_init__(self) -> None:
        if self.suffix not in _DEFAULT_QUALITY:
            raise InsightError(f"--encoding {self.suffix}: want {' or '.join(_DEFAULT_QUALITY)}")
        if self.quality is None:
            object.__setattr__(self, "quality", _DEFAULT_QUALITY[self.suffix])
        if not all(8 <= side <= 4096 for side in self.size):
            raise InsightError(f"--image-size {self.size[0]},{self.size[1]}: want height,width of 8..4096 pixels each")
        low, high = (0, 9) if self.suffix == ".png" else (1, 100)
        if not low <= self.quality <= high:
            raise InsightError(f"--quality {self.quality}: want {low}..{high} for {self.suffix}")


class Prepared(NamedTuple):
    """Encoded bytes, and what was done to the file: empty if they are the file's own."""

    payload: bytes
    changes: Tuple[str, ...] = ()


def read_file(path: str) -> bytes:
    """The bytes of a file. Raises :class:`Skip` if it cannot be read."""
    try:
        return files.read_file(path)
    except files.Unreadable as error:
        raise Skip(str(error)) from None


def verbatim(data: bytes, target: Target) -> bool:
    """Whether a file's bytes can stand in a record as they are."""
    head = read_jpeg_head(data)
    if head is None:
        return target.suffix == ".png" and is_plain_png(data, target.size)
    if not head.complete:
        raise Skip("JPEG without its end marker: the file was cut")
    return head.plain and (head.height, head.width) == target.size


def convert(data: bytes, entry: Entry, target: Target) -> Prepared:
    """Decode, set upright, warp or scale, and encode. Raises :class:`Skip` if it is no image."""
    from .. import image

    try:
        pixels, changes = image.upright_bgr(data, "")
    except InsightError as error:
        kind = kind_of(data[:HEAD_BYTES])
        if kind and not kind.decoded:
            raise Skip(f"{kind.name}, which OpenCV does not decode: convert it to JPEG or PNG") from None
        raise Skip(str(error).lstrip(": ").partition(";")[0]) from None
    suffix = suffix_of(data)
    if suffix != ".jpg" and suffix != target.suffix:
        changes.insert(0, suffix[1:])
    if not entry.aligned:
        from .alignment import warp

        try:
            pixels = warp(pixels, entry.landmarks, target.size)
        except InsightError as error:
            raise Skip(str(error).partition(";")[0]) from None
        changes.append("aligned by landmarks")
    elif pixels.shape[:2] != target.size:
        changes.append(f"{RESIZED} {pixels.shape[0]}x{pixels.shape[1]}")
        pixels = image.fit(pixels, target.size)
    return Prepared(image.encode_bgr(pixels, target.suffix, target.quality), tuple(changes) or ("encoded again",))


def prepare_all(
    entries: Iterable[Entry], target: Target, places: Optional[Places] = None, workers: int = 1
) -> Iterator[Tuple[Entry, Union[Prepared, Skip]]]:
    """Prepare the images of a list, in its order.

    Files are read one after the other, which is as fast as a disk gets here; only those that
    must be converted go to worker threads (OpenCV works outside Python's lock).

    Parameters
    ----------
    entries : iterable of Entry
    target : Target
    places : Places, optional
        Where the files are looked for; else in the working directory.
    workers : int
        Threads for conversion. The result does not depend on it.

    Yields
    ------
    entry, outcome
        ``outcome`` is a Prepared, or the Skip that says why there is none.
    """
    places = places or Places()
    with _Pool(workers) as pool:
        waiting: Deque[tuple] = deque()
        for entry in entries:
            try:
                data = _read_entry(entry.path, places)
                if entry.aligned and verbatim(data, target):
                    outcome: object = Prepared(data)
                elif not entry.aligned and entry.landmarks is None:
                    raise Skip("not aligned, and the list has no landmarks for it")
                else:
                    outcome = pool.submit(convert, data, entry, target)
            except Skip as skip:
                outcome = skip
            waiting.append((entry, outcome))
            while waiting and (len(waiting) > pool.ahead or _is_done(waiting[0][1])):
                yield _settle(*waiting.popleft())
        for entry, outcome in waiting:
            yield _settle(entry, outcome)


def _read_entry(name: str, places: Places) -> bytes:
    """The bytes of a listed file, from the first place that has it. Raises :class:`Skip` if none has."""
    try:
        return read_file(places.first(name))
    except Skip as skip:
        first = skip
    others = islice(places.paths(name), 1, None)
    found = next(filter(os.path.isfile, others), None)
    if found is not None:
        return read_file(found)
    raise Skip(f"{first} {places.describe()}") if str(first) == MISSING and not os.path.isabs(name) else first


class _Pool:
    """Worker threads that start when the first image must be converted."""

    def __init__(self, workers: int):
        self.workers = max(1, workers)
        self.ahead = _AHEAD * self.workers
        self._executor = None

    def submit(self, function, *arguments):
        if self._executor is None:
            from concurrent.futures import ThreadPoolExecutor

            self._executor = ThreadPoolExecutor(self.workers)
        return self._executor.submit(function, *arguments)

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *error) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)


def _is_done(outcome) -> bool:
    return isinstance(outcome, (Prepared, Skip)) or outcome.done()


def _settle(entry: Entry, outcome) -> Tuple[Entry, Union[Prepared, Skip]]:
    if isinstance(outcome, (Prepared, Skip)):
        return entry, outcome
    try:
        return entry, outcome.result()
    except Skip as skip:
        return entry, skip
