"""Image lists (.lst): one line per image, columns separated by tabs.

InsightFace's order is ``aligned, path, label``, then optionally a box (4 integers: left, top,
right, bottom), then optionally five landmarks (10 numbers, ``x1..x5 y1..y5``: left eye, right
eye, nose, left mouth corner, right mouth corner), so a line has 3, 7 or 17 columns; columns after
the 17th are ignored, as in face2rec2. im2rec's order, ``index, label, path``, is recognised by its
content and read as aligned images.

Paths may contain spaces and any letters. Files may have any byte-order mark and line ends (:mod:`insight.files.text`).
Lines with other separators, quotes or more columns are read if they are unambiguous (:mod:`.lstline`). A heading and
lines that begin with ``#`` are skipped.
Source: InsightFace ``src/common/face_preprocess.py`` @9fc3cc9c, MXNet 1.9.1 ``tools/im2rec.py``.
"""

from __future__ import annotations

import sys
from typing import Iterable, Iterator, Tuple

from ..errors import InsightError
from ..files.atomic import write_beside
from ..files.text import BLANK, numbered_lines
from .lstline import (
    COMMENT,
    IM2REC,
    INSIGHTFACE,
    Entry,
    complaint,
    dialect_of,
    is_heading,
    parse,
    quick_im2rec,
    quick_insightface,
)

__all__ = [
    *("IM2REC", "INSIGHTFACE", "Entry", "Lines"),
    *("format_entry", "iter_lst", "print_lst", "read_lst", "write_lst"),
]
_WANT = "want a .lst, as dir2lst writes it"


class Lines:
    """The entries of a list, line by line; blank lines are skipped.

    Attributes
    ----------
    path : str
    number : int
        Number of the last entry's line, from 1.
    dialect : str
        ``insightface`` or ``im2rec``: the order of the columns, from the first line. Valid once an entry was read.

    Raises
    ------
    InsightError
        During iteration: the file is missing or has no entry, or a line is invalid; the message has file and line.
    """

    def __init__(self, path: str):
        self.path = path
        self.number = 0
        self.dialect = INSIGHTFACE

    def __iter__(self) -> Iterator[Entry]:
        lines = numbered_lines(self.path, _WANT)
        yield self._first(lines)
        quick = quick_im2rec if self.dialect == IM2REC else quick_insightface
        for self.number, line in lines:
            entry = quick(line)
            if entry is not None:
                yield entry
            elif not line.strip(BLANK).startswith(COMMENT):
                yield self._parse(line)

    def _first(self, lines: Iterator[Tuple[int, str]]) -> Entry:
        """The first entry, after comments and a heading; sets the dialect."""
        heading = None
        for self.number, line in lines:
            if line.strip(BLANK).startswith(COMMENT):
                continue
            if heading is None and is_heading(line):
                heading = line
                continue
            self.dialect = dialect_of(line)
            return self._parse(line)
        if heading is not None:
            raise InsightError(f"{self.path}:{self.number}: {complaint(heading, INSIGHTFACE)}")
        raise InsightError(f"{self.path}: holds no line; want one image per line: aligned, path, label, tabs between")

    def _parse(self, line: str) -> Entry:
        try:
            return parse(line, self.dialect)
        except ValueError:
            raise InsightError(f"{self.path}:{self.number}: {complaint(line, self.dialect)}") from None


def read_lst(path: str) -> list[Entry]:
    """All entries of a list; see :class:`Lines`."""
    return list(Lines(path))


def iter_lst(path: str) -> Iterator[Entry]:
    """Entries of a list, line by line; see :class:`Lines`."""
    return iter(Lines(path))


def format_entry(entry: Entry) -> str:
    """The line of an entry, without the line end, in InsightFace's order.

    Raises
    ------
    InsightError
        The path has a tab or a line end, which a list cannot contain.
    """
    if any(c in entry.path for c in "\t\n\r"):
        raise InsightError(f"{entry.path!r}: a list cannot hold a path with a tab or line end; rename the file")
    fields = ["1" if entry.aligned else "0", entry.path, str(entry.label)]
    if entry.bbox is not None or entry.landmarks is not None:
        fields += [str(v) for v in entry.bbox or (0, 0, 0, 0)]
    if entry.landmarks is not None:
        fields += [repr(float(v)) for v in entry.landmarks]
    return "\t".join(fields)


def print_lst(entries: Iterable[Entry]) -> int:
    """Write a list to stdout; returns the number of lines."""
    count = 0
    for entry in entries:
        sys.stdout.buffer.write(f"{format_entry(entry)}\n".encode("utf-8", "surrogateescape"))
        count += 1
    return count


def write_lst(path: str, entries: Iterable[Entry]) -> int:
    """Write a list atomically; returns the number of lines."""
    count = 0
    with write_beside(path, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as out:
        for entry in entries:
            out.write(format_entry(entry) + "\n")
            count += 1
    return count
