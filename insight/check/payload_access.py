"""How the payloads of a set are read: in this process, or in a worker of a cluster, which opens the files itself."""

from __future__ import annotations

import os
from bisect import bisect_right
from typing import Any, Callable, List, NamedTuple, Optional, Sequence

from ..formats.evalbin import is_bin, read_bin
from ..formats.faceset import FaceSet
from ..formats.recordmap import RecordMap


class Payloads(NamedTuple):
    """The payloads of a set.

    Attributes
    ----------
    count : int
    read : callable
        The payload at a position, 0..count-1, in this process.
    read_at : callable
        The payload at a place, an integer; picklable.
    places : callable
        Places of the payloads at positions ``begin`` to ``end - 1``.
    paths : sequence of str
        The files that ``read_at`` opens.
    """

    count: int
    read: Callable[[int], Any]
    read_at: Callable[[int], Any]
    places: Callable[[int, int], Sequence[int]]
    paths: Sequence[str]


class ReadAtOffset:
    """Payloads of .rec files, which may be damaged, by the offset of the record. Opens the files at the first call.

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
    """Images of a verification .bin or a sound record set, by position. Opens the file at the first call."""

    def __init__(self, path: str):
        self._path = os.path.abspath(path)
        self._payload: Optional[Callable[[int], Any]] = None

    def __call__(self, position: int) -> Any:
        if self._payload is None:
            path = self._path
            self._payload = read_bin(path).images.__getitem__ if is_bin(path) else FaceSet.open(path).payload
        return self._payload(position)
