"""Payloads that another process reads: by a picklable reader of their file, and a place in it for each."""

from __future__ import annotations

import os
from typing import Any, Callable, NamedTuple, Optional, Sequence

from ..formats.evalbin import is_bin, read_bin
from ..formats.faceset import FaceSet
from .records import AnyFile


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
    """Payloads of a .rec, which may be damaged, by the offset of the record. Opens the file with the first."""

    def __init__(self, rec_path: str):
        self._path = os.path.abspath(rec_path)
        self._file: Optional[AnyFile] = None

    def __call__(self, offset: int) -> memoryview:
        self._file = self._file or AnyFile(self._path)
        return self._file.read_at(offset).payload


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
