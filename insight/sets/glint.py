"""Conversion of the Glint challenge's landmark lists to .lst.

A file ``<dataset>_lmk`` or ``<dataset>_lmk.txt`` has one line per image, with fields separated by blanks or tabs:
``relpath label x1 y1 .. x5 y5``. Test sets have no label, and get the label -1. A path may contain blanks only if
it ends in a file suffix.
Source: InsightFace ``src/data/glint2lst.py`` @9fc3cc9c.
"""

from __future__ import annotations

import os
import re
from typing import Dict, Iterator, Optional, Sequence, Tuple

from ..errors import InsightError
from ..files.commit import refuse_existing
from ..files.text import BLANK, excerpt, is_whole, numbered_lines, whole
from ..formats.lst import Entry, print_lst, write_lst
from ..formats.lstline import POINTS, landmarks_of, path_of

_NO_BOX = (0, 0, 0, 0)
_WANT = "want 'name.jpg label x1 y1 .. x5 y5' (the label may be missing)"
_WORDS = re.compile(r"[^ \t]+")
_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,4}$")


def glint_entries(folder: str, datasets: Sequence[str]) -> Iterator[Entry]:
    """Yield the unaligned entries of the given data sets, in order.

    Labels are renumbered 0, 1, 2, .. in order of first appearance. All data sets share one numbering, so a label
    that occurs in two of them is one identity, as in InsightFace's script. Paths are joined to the folder.

    Raises
    ------
    InsightError
        A landmark file is missing, or a line does not have the layout above.
    """
    labels: Dict[int, int] = {}
    for dataset in datasets:
        path = _landmark_file(folder, dataset)
        for number, line in numbered_lines(path, _WANT):
            try:
                name, label, points = _parse(line.strip(BLANK))
            except (ValueError, IndexError):
                raise InsightError(f"{path}:{number}: {_WANT}, found {excerpt(line)}") from None
            if label is not None:
                label = labels.setdefault(label, len(labels))
            landmarks = tuple(points[0::2]) + tuple(points[1::2])
            yield Entry(os.path.join(folder, name), -1 if label is None else label, False, _NO_BOX, landmarks)


def _landmark_file(folder: str, dataset: str) -> str:
    for ending in ("_lmk", "_lmk.txt"):
        path = os.path.join(folder, dataset + ending)
        if os.path.isfile(path):
            return path
    raise InsightError(f"{folder}: has neither {dataset}_lmk nor {dataset}_lmk.txt; name the data sets that it holds")


def _parse(line: str) -> Tuple[str, Optional[int], Tuple[float, ...]]:
    """Return the path, the label (None without one) and the ten coordinates of a line; other lines raise ValueError."""
    words = list(_WORDS.finditer(line))
    points = landmarks_of([word.group() for word in words[-POINTS:]])
    head = words[:-POINTS]
    unlabelled = len(head) == 1 or _SUFFIX.search(head[-1].group())
    label = None if unlabelled else whole(head.pop().group())
    name = line[: head[-1].end()]
    if not _SUFFIX.search(name) and (len(head) > 1 or is_whole(name)):
        raise ValueError("the end of the name is ambiguous")
    return path_of(name), label, points


def write_glint_list(
    folder: str, datasets: Sequence[str], output: Optional[str] = None, overwrite: bool = False
) -> int:
    """Write :func:`glint_entries` to a .lst, or to standard output; return the number of images."""
    entries = glint_entries(folder, datasets)
    if output is not None:
        if not overwrite:
            refuse_existing(os.path.dirname(output), [os.path.basename(output)])
        return write_lst(output, entries)
    return print_lst(entries)
