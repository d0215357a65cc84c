"""Parser for one line of an image list, and the error message for an invalid line.

Columns are separated by tabs, commas or semicolons, and fields may be quoted. Columns may also be separated by blanks;
the path may then contain blanks, since the other columns are numbers. Empty columns at the end are ignored. Text after
the label or the box is ignored, but a number there must begin a complete box or complete landmarks.
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
_LONG = 19  # a number of so many digits may exceed int64
_MOST = 1 << 63  # labels are below this, the range of int64
_WORDS = re.compile(r"[^\t ]+")


class Entry(NamedTuple):
    """One image of a list.

    ``aligned`` means that the file is an aligned face already. ``bbox`` is 4 ints in pixels: left, top, right,
    bottom. ``landmarks`` is 10 floats in pixels: five x, then five y.
    """

    path: str
    label: int
    aligned: bool = True
    bbox: Optional[Tuple[int, ...]] = None
    landmarks: Optional[Tuple[float, ...]] = None


def quick_insightface(line: str) -> Optional[Entry]:
    """Parse a line as dir2lst writes it; None for other lines. It is fast, since lists have millions of lines."""
    fields = line.split("\t")
    if len(fields) == 3:
        flag, path, label = fields
        if flag in FLAGS and label.isdecimal() and len(label) < _LONG and label.isascii() and path and "\0" not in path:
            return Entry(path, int(label), FLAGS[flag])
    return None


def quick_im2rec(line: str) -> Optional[Entry]:
    """Parse a line as im2rec writes it; None for other lines."""
    fields = line.split("\t")
    if len(fields) == 3:
        index, label, path = fields
        label, _, fraction = label.partition(".")
        if index.isdecimal() and label.isdecimal() and len(label) < _LONG and label.isascii():
            if not fraction.strip("0") and path and "\0" not in path:
                return Entry(path, int(label))
    return None


def parse(line: str, dialect: str) -> Entry:
    """Parse a line with the first separator that yields an entry.

    Raises
    ------
    ValueError
        No separator yields an entry.
    """
    read = _im2rec if dialect == IM2REC else _insightface
    for fields in chain([line.split("\t")], _ways(line, dialect)):
        try:
            return read(fields)
        except (ValueError, IndexError, KeyError):
            continue
    raise ValueError("columns")


def dialect_of(line: str) -> str:
    """The column order of a line; ``insightface`` if the line fits neither order."""
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
    """Parse a label: -1 for unlabelled images, or a whole number from 0. Raises ValueError."""
    label = whole(text)
    if not -1 <= label < _MOST:
        raise ValueError("label")
    return label


def path_of(text: str) -> str:
    """Check that a path is not empty and has no NUL or tab; returns it. Raises ValueError."""
    if not text or "\0" in text or "\t" in text:
        raise ValueError("path")
    return text


def box_of(fields: List[str]) -> Tuple[int, ...]:
    """Parse a box: four whole numbers, in pixels. Raises ValueError."""
    box = tuple(map(whole, fields))
    if len(box) != BOX or not all(abs(v) < 1 << 31 for v in box):
        raise ValueError("box")
    return box


def landmarks_of(fields: List[str]) -> Tuple[float, ...]:
    """Parse landmarks: ten numbers, in pixels. Raises ValueError."""
    if "_" in "".join(fields):  # float() accepts underscores
        raise ValueError("landmarks")
    landmarks = tuple(map(float, fields))
    if len(landmarks) != POINTS or not all(abs(v) < 1e6 for v in landmarks):
        raise ValueError("landmarks")
    return landmarks


def complaint(line: str, dialect: str) -> str:
    """The error of an invalid line, for a message that begins with file and line number."""
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
