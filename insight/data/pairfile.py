"""Lists of pairs, in the layouts that the field uses.

- ``image_a,image_b,same`` rows, split by commas, tabs or spaces, with or without such a heading;
- LFW's ``pairs.txt``: a heading of counts, then ``name 1 4`` and ``name 1 other 2``, which mean
  ``name/name_0001.jpg`` and so on.
"""

from __future__ import annotations

import csv
import os
from typing import List, Optional, Tuple

from ..errors import InsightError

Row = Tuple[str, str, bool]
_SAME = {"1": True, "true": True, "0": False, "-1": False, "false": False}
_WANT = "want image_a,image_b,same rows (same: 1 or 0), or LFW's pairs.txt"
_SUFFIXES = (".jpg", ".png", ".jpeg", ".bmp")


def read_pairs(path: str, root: str) -> List[Row]:
    """Pairs of paths relative to ``root``, and whether both show one person.

    Raises
    ------
    InsightError
        The file is missing, empty, or a line fits neither layout.
    """
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as source:
            lines = [(number, line.rstrip("\r\n")) for number, line in enumerate(source, 1) if line.strip()]
    except FileNotFoundError:
        raise InsightError(
            f"{path}: no such file or folder; {_WANT}, a .lst, or a folder of identity folders"
        ) from None
    except IsADirectoryError:
        raise InsightError(f"{path}: a folder; {_WANT}") from None
    if not lines:
        raise InsightError(f"{path}: holds no pair; {_WANT}")
    delimiter = next((d for d in ("\t", ",") if d in lines[-1][1]), " ")
    rows = []
    for at, (number, line) in enumerate(lines):
        fields = [f.strip() for f in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]
        row = _labelled(fields) or _lfw(fields, root)
        if row is not None:
            rows.append(row)
        elif at or not _is_heading(fields):
            raise InsightError(f"{path}:{number}: {_WANT}; found {line[:80]!r}")
    if not rows:
        raise InsightError(f"{path}: holds a heading and no pair; {_WANT}")
    return rows


def _is_heading(fields: List[str]) -> bool:
    counts = len(fields) in (1, 2) and all(f.isdigit() for f in fields)
    return counts or (len(fields) == 3 and not fields[2].lstrip("-").isdigit())


def _labelled(fields: List[str]) -> Optional[Row]:
    if len(fields) != 3 or fields[1].isdigit() or fields[2].lower() not in _SAME or not (fields[0] and fields[1]):
        return None
    return fields[0], fields[1], _SAME[fields[2].lower()]


def _lfw(fields: List[str], root: str) -> Optional[Row]:
    if len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit():
        return _lfw_path(fields[0], fields[1], root), _lfw_path(fields[0], fields[2], root), True
    if len(fields) == 4 and fields[1].isdigit() and fields[3].isdigit():
        return _lfw_path(fields[0], fields[1], root), _lfw_path(fields[2], fields[3], root), False
    return None


def _lfw_path(name: str, number: str, root: str) -> str:
    stem = os.path.join(name, f"{name}_{int(number):04d}")
    usual = next((s for s in _SUFFIXES if os.path.exists(os.path.join(root, stem + s))), None)
    return stem + (_other_suffix(os.path.join(root, stem)) if usual is None else usual)


def _other_suffix(stem: str) -> str:
    """The suffix, perhaps empty, of the first file whose path without its suffix is this; ``.jpg`` where none is."""
    folder, start = os.path.split(stem)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    found = (name for name in names if name == start or os.path.splitext(name)[0] == start)
    return next(found, start + _SUFFIXES[0])[len(start) :]
