"""Landmark lists of the Glint challenge -> .lst.

A ``<dataset>_lmk`` or ``<dataset>_lmk.txt`` file has a line per image, fields separated by
single spaces: ``relpath label x1 y1 .. x5 y5``, or without the label (test sets, label -1).
Source: InsightFace ``src/data/glint2lst.py`` @9fc3cc9c.
"""

from __future__ import annotations

import os
import sys
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from ..errors import InsightError
from ..formats.commit import refuse_existing
from ..formats.lst import Entry, format_entry, write_lst

_POINTS = 10
_NO_BOX = (0, 0, 0, 0)


def glint_entries(folder: str, datasets: Sequence[str]) -> Iterator[Entry]:
    """Unaligned entries of the named data sets, in order, with dense labels.

    Labels are numbered as they appear, by one map for all data sets, so a label that two of
    them share is one identity, as in InsightFace's script. Paths are joined to the folder.

    Raises
    ------
    InsightError
        A landmark file is missing, or a line is not one.
    """
    labels: Dict[int, int] = {}
    for dataset in datasets:
        path = _landmark_file(folder, dataset)
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    name, label, points = _parse(line.rstrip("\r\n"), path, number)
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


def _parse(line: str, path: str, number: int) -> Tuple[str, Optional[int], List[float]]:
    fields = line.strip().rsplit(" ", _POINTS + 1)
    try:
        points = [float(field) for field in fields[-_POINTS:]]
        label: Optional[int] = None
        if len(fields) == _POINTS + 2 and fields[0].endswith(".jpg"):
            name, label = fields[0], int(fields[1])
        else:  # no label: what looks like one belongs to a name with a space
            name = line.strip().rsplit(" ", _POINTS)[0]
    except ValueError:
        name = ""
    if not name.endswith(".jpg") or "\t" in name or not all(abs(v) < 1e6 for v in points):
        raise InsightError(
            f"{path}:{number}: want 'name.jpg label x1 y1 .. x5 y5' (the label may be missing), found {line[:80]!r}"
        )
    return name, label, points


def write_glint_list(
    folder: str, datasets: Sequence[str], output: Optional[str] = None, overwrite: bool = False
) -> int:
    """Write :func:`glint_entries` to a .lst, or to standard output; returns the number of images."""
    entries = glint_entries(folder, datasets)
    if output is not None:
        if not overwrite:
            refuse_existing(os.path.dirname(output), [os.path.basename(output)])
        return write_lst(output, entries)
    count = 0
    for entry in entries:
        line = format_entry(entry) + "\n"
        sys.stdout.buffer.write(line.encode("utf-8", "surrogateescape"))
        count += 1
    return count
