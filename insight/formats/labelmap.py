"""Label maps: CSV files with the columns ``label`` and ``name``, the name of the label's identity."""

from __future__ import annotations

import csv
import os
from typing import Dict, Iterable, Optional, Tuple, Union

from ..errors import InsightError
from ..files.atomic import write_beside
from ..files.text import SEPARATORS, excerpt, is_whole, numbered_lines, split, whole

COLUMNS = ["label", "name"]
_WANT = "want a label map, a CSV with the columns label, name, as dir2lst --label-map writes it"


def label_map_path(lst_path: str) -> str:
    """Default path of a list's label map: ``train.labels.csv`` for ``train.lst``."""
    return os.path.splitext(lst_path)[0] + ".labels.csv"


def write_label_map(path: Union[str, os.PathLike[str]], names: Iterable[str]) -> None:
    """Write a label map; labels are 0, 1, 2, .. in the order of the names."""
    with write_beside(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as out:
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(COLUMNS)
        rows.writerows(enumerate(names))


def read_label_map(path: Union[str, os.PathLike[str]]) -> Dict[int, str]:
    """Read a label map; returns names by label, without surrounding blanks.

    Fields are separated by commas, semicolons or tabs. A heading, in upper or lower case, gives the order of the
    columns; without a heading they are the first two.

    Raises
    ------
    InsightError
        The file is missing or has no label, or a label is not a whole number or has two names.
    """
    names: Dict[int, str] = {}
    layout: Optional[Tuple[str, int, int]] = None
    for number, line in numbered_lines(path, _WANT):
        if layout is None:
            layout, is_heading = _layout(line) or (None, False)
            if layout is None:
                raise InsightError(f"{path}:{number}: found {excerpt(line)}; {_WANT}")
            if is_heading:
                continue
        separator, label_at, name_at = layout
        try:
            fields = split(line, separator)
            label, name = whole(fields[label_at]), fields[name_at]
        except (ValueError, IndexError):
            raise InsightError(f"{path}:{number}: found {excerpt(line)}; {_WANT}") from None
        if names.setdefault(label, name) != name:
            raise InsightError(
                f"{path}:{number}: label {label} has two names, {names[label]!r} and {name!r}; want one for each label"
            )
    if not names:
        raise InsightError(f"{path}: has no label; {_WANT}")
    return names


def _layout(line: str) -> Optional[Tuple[Tuple[str, int, int], bool]]:
    """(separator, column of the label, column of the name) of a first line, and whether it is a heading."""
    for separator in SEPARATORS:
        fields = [field.lower() for field in split(line, separator)]
        if set(COLUMNS) <= set(fields):
            return (separator, fields.index("label"), fields.index("name")), True
        if len(fields) >= 2 and is_whole(fields[0]):
            return (separator, 0, 1), False
    return None
