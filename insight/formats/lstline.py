"""Parser of one line of an image list, in the tools' own layout or another spelling, and its error message.

Columns are separated by tabs, commas or semicolons, and fields may be quoted; or by blanks, also inside the path, since
the columns beside it are numbers. Empty columns at the end are ignored. Text after the columns of a list is ignored; a
number there is an error, since it may be part of a box or of landmarks.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import Iterator, List, NamedTuple, Optional, Tuple

from ..files.text import BLANK, excerpt, is_number, is_whole, split, ways, whole

INSIGHTFACE, IM2REC = "insightface", "im2rec"
FLAGS = {"0": False, "1": True}  # the first column of InsightFace's lists: whether the image is aligned
BOX, POINTS = 4, 10
COMMENT = "#"
_LONG = 19  # digits of a number that may be too large
_MOST = 1 << 63  # labels are below this, the range of int64
_WORDS = re.compile(r"[^\t ]+")


class Entry(NamedTuple):
    """One image of a list.

    ``aligned`` means that the file is already a face crop. ``bbox`` is 4 ints, in pixels.
    ``landmarks`` is 10 floats in pixels, five x, then five y.
    """

    path: str
    label: int
    aligned: bool = True
    bbox: Optional[Tuple[int, ...]] = None
    landmarks: Optional[Tuple[float, ...]] = None


def quick_insightface(line: str) -> Optional[Entry]:
    """The entry of a line as dir2lst writes it; None for other lines. Fast, as lists have millions of lines."""
    fields = line.split("\t")
    if len(fields) == 3:
        flag, path, label = fields
        if flag in FLAGS and label.isdecimal() and len(label) < _LONG and label.isascii() and path and "\0" not in path:
            return Entry(path, int(label), FLAGS[flag])
    return None


def quick_im2rec(line: str) -> Optional[Entry]:
    """The entry of a line as im2rec writes it; None for other lines."""
    fields = line.split("\t")
    if len(fields) == 3:
        index, label, path = fields
        label, _, fraction = label.partition(".")
        if index.isdecimal() and label.isdecimal() and len(label) < _LONG and label.isascii():
            if not fraction.strip("0") and path and "\0" not in path:
                return Entry(path, int(label))
    return None


def parse(line: str, dialect: str) -> Entry:
    """The entry of a line, with the first separator that gives one.

    Raises
    ------
    ValueError
        No separator gives an entry.
    """
    read = _im2rec if dialect == IM2REC else _insightface
    for fields in chain([line.split("\t")], _ways(line, dialect)):
        try:
            return read(fields)
        except (ValueError, IndexError, KeyError):
            continue
    raise ValueError("columns")


def dialect_of(line: str) -> str:
    """The column order of one line; ``insightface`` if it fits neither."""
    for fields in ways(line):
        if len(fields) >= 3 and not (fields[0] in FLAGS and is_whole(fields[2])):
            if is_whole(fields[0]) and is_number(fields[1]) and not is_number(fields[-1]):
                return IM2REC
    return INSIGHTFACE


def is_heading(line: str) -> bool:
    """Whether a first line names columns: three words or more, none of them a number or a path."""
    return any(
        len(fields) >= 3 and not any(is_number(f) or set(f) & set("./\\") for f in fields) for fields in ways(line)
    )


def label_of(text: str) -> int:
    """A label: -1 for unlabelled images, or a whole number from 0. Raises ValueError."""
    label = whole(text)
    if not -1 <= label < _MOST:
        raise ValueError("label")
    return label


def path_of(text: str) -> str:
    """A path that a file can have. Raises ValueError."""
    if not text or "\0" in text or "\t" in text:
        raise ValueError("path")
    return text


def box_of(fields: List[str]) -> Tuple[int, ...]:
    """Four whole numbers, in pixels. Raises ValueError."""
    box = tuple(map(whole, fields))
    if len(box) != BOX or not all(abs(v) < 1 << 31 for v in box):
        raise ValueError("box")
    return box


def landmarks_of(fields: List[str]) -> Tuple[float, ...]:
    """Ten numbers, in pixels. Raises ValueError."""
    if "_" in "".join(fields):  # float() accepts underscores
        raise ValueError("landmarks")
    landmarks = tuple(map(float, fields))
    if len(landmarks) != POINTS or not all(abs(v) < 1e6 for v in landmarks):
        raise ValueError("landmarks")
    return landmarks


def complaint(line: str, dialect: str) -> str:
    """The error of a line, for a message that begins with file and line number."""
    columns = len(line.split("\t"))
    if dialect == IM2REC:
        return (
            f"the first line has im2rec's columns (index, label, path), this one does not: {columns} columns, "
            f"{excerpt(line)}; want one integer label per image"
        )
    return (
        f"want aligned (0 or 1), path, label (a whole number, -1 or more), then nothing, 4 integers (box), or these "
        f"and 10 numbers (landmarks), separated by tabs; found {columns} columns, {excerpt(line)}"
    )


def _ways(line: str, dialect: str) -> Iterator[List[str]]:
    yield from ways(line, blanks=False)
    line = line.strip(BLANK)
    fields, words = split(line, None), [match.span() for match in _WORDS.finditer(line)]
    last = len(words) - 1
    if dialect == IM2REC and last >= 2 and not is_number(fields[2]):  # index, label, then the path to the end
        yield [*fields[:2], line[words[2][0] :]]
    if dialect == INSIGHTFACE and last >= 2:  # flag, then the path up to the numbers at the end
        while last > 1 and is_number(fields[last]):
            last -= 1
        yield [fields[0], line[words[1][0] : words[last][1]], *fields[last + 1 :]]


def _insightface(fields: List[str]) -> Entry:
    aligned, path, label, rest = FLAGS[fields[0]], path_of(fields[1]), label_of(fields[2]), fields[3:]
    if not rest or not is_number(rest[0]):
        return Entry(path, label, aligned)
    box, rest = box_of(rest[:BOX]), rest[BOX:]
    if not rest or not is_number(rest[0]):
        return Entry(path, label, aligned, box)
    return Entry(path, label, aligned, box, landmarks_of(rest[:POINTS]))


def _im2rec(fields: List[str]) -> Entry:
    whole(fields[0])
    if len(fields) > 3 and is_number(fields[2]):
        raise ValueError("several labels")
    return Entry(path_of(fields[2]), label_of(fields[1]))
