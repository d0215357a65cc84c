"""Reader of lists of verification pairs. Two layouts are supported.

- Rows ``image_a,image_b,same``, separated by commas, semicolons, tabs or blanks, with or without a heading. A heading
  may name these columns in another order; further columns are ignored.
- LFW's ``pairs.txt``: a heading of counts, then rows ``name 1 4`` (one person) and ``name 1 other 2`` (two people),
  in which ``name 1`` denotes the file ``name/name_0001.jpg``.

Lines that begin with ``#`` are skipped.
"""

from __future__ import annotations

import os
from typing import List, Optional, Tuple

from ..errors import InsightError
from ..files.text import BLANK, excerpt, is_whole, numbered_lines, ways, whole
from ..formats.lstline import is_heading

Row = Tuple[str, str, bool]
COLUMNS = ("image_a", "image_b", "same")
_WORDS = {"true": True, "false": False}
_SAME = {1: True, 0: False, -1: False}
_WANT = "want image_a,image_b,same rows (same: 1 or 0), or LFW's pairs.txt"
_SUFFIXES = (".jpg", ".png", ".jpeg", ".bmp")
_LONGEST_NUMBER = 1_000_000  # image numbers in LFW's layout are smaller


def read_pairs(path: str, root: str) -> List[Row]:
    """Read pairs of image paths, relative to ``root``, and whether both images show the same person.

    Raises
    ------
    InsightError
        The file is missing or empty, or a line matches neither layout.
    """
    want = f"{_WANT}, a .lst, or a folder of identity folders"
    rows: List[Row] = []
    heading: Optional[str] = None
    order = (0, 1, 2)
    for number, line in numbered_lines(path, want):
        if line.strip(BLANK).startswith("#"):
            continue
        row = _row(line, order, root)
        if row is not None:
            rows.append(row)
        elif heading is None and not rows and _is_heading(line):
            heading, order = line, _order(line)
        else:
            raise InsightError(f"{path}:{number}: {_WANT}; found {excerpt(line)}")
    if not rows:
        raise InsightError(f"{path}: holds {'a heading and ' if heading else ''}no pair; {_WANT}")
    return rows


def _row(line: str, order: Tuple[int, ...], root: str) -> Optional[Row]:
    for fields in ways(line):
        row = _labelled(fields, order) or _lfw(fields, root)
        if row is not None and "\0" not in row[0] + row[1]:
            return row
    return None


def _is_heading(line: str) -> bool:
    """Whether a line consists of counts, like LFW's first line, or of column names."""
    return is_heading(line) or any(len(fields) <= 2 and all(map(is_whole, fields)) for fields in ways(line))


def _order(line: str) -> Tuple[int, ...]:
    """Return the positions of the three columns in a heading; (0, 1, 2) if it does not name all of them."""
    for fields in ways(line.lower()):
        if all(name in fields for name in COLUMNS):
            return tuple(map(fields.index, COLUMNS))
    return (0, 1, 2)


def _labelled(fields: List[str], order: Tuple[int, ...]) -> Optional[Row]:
    if len(fields) <= max(order):
        return None
    first, second, same = (fields[at] for at in order)
    if not first or not second or is_whole(second):
        return None
    flag = _WORDS.get(same.lower())
    if flag is None and is_whole(same):
        flag = _SAME.get(whole(same))
    return None if flag is None else (first, second, flag)


def _lfw(fields: List[str], root: str) -> Optional[Row]:
    if len(fields) == 3 and _are_images(fields[1:]):
        return _lfw_path(fields[0], fields[1], root), _lfw_path(fields[0], fields[2], root), True
    if len(fields) == 4 and _are_images(fields[1::2]):
        return _lfw_path(fields[0], fields[1], root), _lfw_path(fields[2], fields[3], root), False
    return None


def _are_images(numbers: List[str]) -> bool:
    return all(is_whole(number) and 0 <= whole(number) < _LONGEST_NUMBER for number in numbers)


def _lfw_path(name: str, number: str, root: str) -> str:
    stem = os.path.join(name, f"{name}_{whole(number):04d}")
    usual = next((s for s in _SUFFIXES if os.path.exists(os.path.join(root, stem + s))), None)
    return stem + (_other_suffix(os.path.join(root, stem)) if usual is None else usual)


def _other_suffix(stem: str) -> str:
    """Return the suffix, possibly empty, of the first file with the given stem; ``.jpg`` if there is none."""
    folder, start = os.path.split(stem)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    matches = (name for name in names if name == start or os.path.splitext(name)[0] == start)
    return next(matches, start + _SUFFIXES[0])[len(start) :]
