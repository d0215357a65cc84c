"""Image lists (.lst): a line per image, columns separated by tabs.

InsightFace's order is ``aligned, path, label``, then optionally a box (4 integers: left, top,
right, bottom), then optionally five landmarks (10 numbers, ``x1..x5 y1..y5``: left eye, right
eye, nose, left mouth corner, right mouth corner), so a line has 3, 7 or 17 columns; what stands
behind the 17th is ignored, as face2rec2 does. im2rec's order, ``index, label, path``, is
recognised by its content and read as aligned images.

Paths may hold spaces and any letters. They are UTF-8; other bytes survive a round trip.
Source: InsightFace ``src/common/face_preprocess.py`` @9fc3cc9c, MXNet 1.9.1 ``tools/im2rec.py``.
"""

from __future__ import annotations

from typing import Iterable, Iterator, NamedTuple, Optional, Tuple

from ..errors import InsightError
from .atomic import write_beside

INSIGHTFACE, IM2REC = "insightface", "im2rec"
_MAX_LABEL = 1 << 24  # labels are float32 in records


class Entry(NamedTuple):
    """One image of a list.

    ``aligned`` means that the file is a face crop already. ``bbox`` is 4 ints, in pixels.
    ``landmarks`` is 10 floats in pixels, five x, then five y.
    """

    path: str
    label: int
    aligned: bool = True
    bbox: Optional[Tuple[int, ...]] = None
    landmarks: Optional[Tuple[float, ...]] = None


def read_lst(path: str) -> list[Entry]:
    """All entries of a list; see :func:`iter_lst`."""
    return list(iter_lst(path))


def iter_lst(path: str) -> Iterator[Entry]:
    """Entries of a list, line by line. Blank lines are passed over.

    Raises
    ------
    InsightError
        The file is missing, holds no line, or a line breaks the rules; file, line and column
        are named.
    """
    parse = dialect = None
    for number, line in _numbered_lines(path):
        if parse is None:
            dialect = dialect_of(line)
            parse = _parse_im2rec if dialect == IM2REC else _parse_insightface
        try:
            yield parse(line)
        except (ValueError, IndexError, OverflowError) as error:
            raise InsightError(f"{path}:{number}: {_complaint(line, dialect, error)}") from None
    if parse is None:
        raise InsightError(f"{path}: holds no line; want one image per line: aligned, path, label, tabs between")


def lst_dialect(path: str) -> str:
    """``insightface`` or ``im2rec``: whose column order a list has, by its first line."""
    for _, line in _numbered_lines(path):
        return dialect_of(line)
    return INSIGHTFACE


def dialect_of(line: str) -> str:
    """The column order of one line. A line that fits neither counts as InsightFace's."""
    fields = line.split("\t")
    if len(fields) >= 3 and not (_is_integer(fields[2]) and fields[0].strip() in ("0", "1")):
        if _is_integer(fields[0]) and _is_number(fields[1]) and not _is_number(fields[-1]):
            return IM2REC
    return INSIGHTFACE


def _numbered_lines(path: str) -> Iterator[Tuple[int, str]]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as source:
            for number, line in enumerate(source, 1):
                line = line.rstrip("\r\n")
                if line and not line.isspace():
                    yield number, line
    except FileNotFoundError:
        raise InsightError(f"{path}: no such file; want a .lst, as dir2lst writes it") from None
    except IsADirectoryError:
        raise InsightError(f"{path}: a folder, want a .lst file") from None


def _parse_insightface(line: str) -> Entry:
    fields = line.split("\t")
    aligned = _FLAGS[fields[0]]
    label = int(fields[2])
    if not -1 <= label <= _MAX_LABEL or not fields[1] or "\0" in fields[1]:
        raise ValueError("label or path")
    if len(fields) == 3:
        return Entry(fields[1], label, aligned)
    if len(fields) == 7:
        return Entry(fields[1], label, aligned, _box(fields))
    if len(fields) < 17:
        raise ValueError("columns")
    landmarks = tuple(float(f) for f in fields[7:17])
    if not all(abs(v) < 1e6 for v in landmarks):
        raise ValueError("landmarks")
    return Entry(fields[1], label, aligned, _box(fields), landmarks)


class _Flags(dict):
    def __missing__(self, field: str) -> bool:
        raise ValueError(f"aligned {field!r}")


_FLAGS = _Flags({"0": False, "1": True})


def _box(fields: list[str]) -> Tuple[int, ...]:
    box = tuple(int(f) for f in fields[3:7])
    if not all(abs(v) < 1 << 31 for v in box):
        raise OverflowError("box")
    return box


def _parse_im2rec(line: str) -> Entry:
    fields = line.split("\t")
    if len(fields) != 3:
        raise ValueError("columns")
    int(fields[0])
    label = float(fields[1])
    if label != int(label) or not -1 <= label <= _MAX_LABEL or not fields[2] or "\0" in fields[2]:
        raise ValueError("label or path")
    return Entry(fields[2], int(label))


def _complaint(line: str, dialect: Optional[str], error: Exception) -> str:
    shown = line if len(line) <= 80 else line[:77] + "..."
    shown = shown.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    columns = len(line.split("\t"))
    if dialect == IM2REC:
        return (
            f"the first line has im2rec's columns (index, label, path), this one does not: {columns} columns, "
            f"{shown!r}; want one integer label per image"
        )
    return (
        f"want aligned (0 or 1), path, label (-1..{_MAX_LABEL}), then nothing, 4 integers (box), or these and "
        f"10 numbers (landmarks), tabs between; found {columns} columns, {shown!r}"
    )


def _is_integer(field: str) -> bool:
    try:
        int(field)
    except ValueError:
        return False
    return True


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def format_entry(entry: Entry) -> str:
    """The line of an entry, without the line end, in InsightFace's order.

    Raises
    ------
    InsightError
        The path holds a tab or a line end, which a list cannot carry.
    """
    if any(c in entry.path for c in "\t\n\r"):
        raise InsightError(f"{entry.path!r}: a list cannot hold a path with a tab or line end; rename the file")
    fields = ["1" if entry.aligned else "0", entry.path, str(entry.label)]
    if entry.bbox is not None or entry.landmarks is not None:
        fields += [str(v) for v in entry.bbox or (0, 0, 0, 0)]
    if entry.landmarks is not None:
        fields += [repr(float(v)) for v in entry.landmarks]
    return "\t".join(fields)


def write_lst(path: str, entries: Iterable[Entry]) -> int:
    """Write a list atomically; returns how many lines it has."""
    count = 0
    with write_beside(path, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as out:
        for entry in entries:
            out.write(format_entry(entry) + "\n")
            count += 1
    return count
