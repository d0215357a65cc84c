"""Payloads that another process reads: by a picklable reader of their file, and a place in it for each."""

from __future__ import annotations

import os
from bisect import bisect_right
from typing import Any, Callable, List, NamedTuple, Optional, Sequence

from ..formats.evalbin import is_bin, read_bin
from ..formats.faceset import FaceSet
from ..formats.recordmap import RecordMap


class Elsewhere(NamedTuple):
    """How another process reads the payloads of a set.

    Attributes
    ----------
    read : callable
        The payload at a place, an integer; picklable.
    places : callable
        Places of the payloads ``begin`` to ``end``.
    paths : sequence of str
        Of the files.
    """

    read: Callable[[int], Any]
    places: Callable[[int, int], Sequence[int]]
    paths: Sequence[str]


class ReadAtOffset:
    """Payloads of .rec files, which may be damaged, by the offset of the record. Opens the files with the first.

    Parameters
    ----------
    rec_paths : sequence of str
        The shards of a set.
    bases : sequence of int
        Offset at which each begins; offsets are those of the shards one after the other.
    """

    def __init__(self, rec_paths: Sequence[str], bases: Sequence[int]):
        self._paths = [os.path.abspath(path) for path in rec_paths]
        self._bases = list(bases)
        self._files: List[RecordMap] = []

    def __call__(self, offset: int) -> memoryview:
        self._files = self._files or [RecordMap(path, checked=False) for path in self._paths]
        shard = bisect_right(self._bases, offset) - 1
        return self._files[shard].read_at(offset - self._bases[shard]).payload


class ReadImage:
    """Images of a verification .bin or a sound record set, by position. Opens the file with the first."""

    def __init__(self, path: str):
        self._path = os.path.abspath(path)
        self._payload: Optional[Callable[[int], Any]] = None

    def __call__(self, position: int) -> Any:
        if self._payload is None:
            path = self._path
            self._payload = read_bin(path).images.__getitem__ if is_bin(path) else FaceSet.open(path).payload
        return self._payload(position)


def in_positions(path: str) -> Elsewhere:
    """The images of a verification .bin or a sound record set."""
    return Elsewhere(ReadImage(path), range, [path])
