"""Access to the payloads of a set, in this process or in a worker of a cluster, which opens the files itself."""

from __future__ import annotations

import os
from typing import Any, Callable, NamedTuple, Optional, Sequence

from ..formats.evalbin import is_bin, read_bin
from ..formats.faceset import FaceSet
from ..formats.recordmap import RecordMaps


class Payloads(NamedTuple):
    """The payloads of a set.

    Attributes
    ----------
    count : int
        Number of payloads.
    read : callable
        Returns the payload at a position, 0..count-1, in this process.
    read_at : callable
        Returns the payload at a place, an integer, in any process; picklable.
    places : callable
        Returns the places of the payloads at positions ``begin`` to ``end - 1``.
    paths : sequence of str
        The files that ``read_at`` opens.
    """

    count: int
    read: Callable[[int], Any]
    read_at: Callable[[int], Any]
    places: Callable[[int, int], Sequence[int]]
    paths: Sequence[str]


class ReadAtOffset:
    """Reads payloads of .rec files, which may be damaged, by offset in the set. The first call opens the files."""

    def __init__(self, rec_paths: Sequence[str]):
        self._paths = [os.path.abspath(path) for path in rec_paths]
        self._maps: Optional[RecordMaps] = None

    def __call__(self, offset: int) -> memoryview:
        if self._maps is None:
            self._maps = RecordMaps(self._paths, checked=False)
        return self._maps.read_at(offset).payload


class ReadImage:
    """Reads images of a verification .bin or a sound record set by position. The first call opens the files."""

    def __init__(self, path: str):
        self._path = os.path.abspath(path)
        self._payload: Optional[Callable[[int], Any]] = None

    def __call__(self, position: int) -> Any:
        if self._payload is None:
            path = self._path
            self._payload = read_bin(path).images.__getitem__ if is_bin(path) else FaceSet.open(path).payload
        return self._payload(position)
