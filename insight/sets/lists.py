"""Finding lists, checking their lines and renumbering their labels before packing."""

from __future__ import annotations

import os
import sys
from typing import Dict, Iterator, List, NamedTuple, Optional

from ..errors import InsightError
from ..formats.framing import LARGEST_LABEL
from ..formats.lst import Entry, Lines, iter_lst


class ListSurvey(NamedTuple):
    """The result of a first pass over a list, which checks every line so that packing cannot fail on one.

    ``numbers`` maps the labels of the list to new labels, in order of first appearance; None if labels are kept.
    """

    lines: int
    num_classes: int
    dialect: str
    numbers: Optional[Dict[int, int]] = None


def survey_list(lst_path: str, renumber: bool = False) -> ListSurvey:
    """Check all lines of a list, and count images and classes.

    Parameters
    ----------
    lst_path : str
    renumber : bool
        Renumber labels: 0, 1, 2, .. in order of first appearance.

    Raises
    ------
    InsightError
        A line is invalid, has the label -1 of an unlabelled image, or has a label that records cannot hold.
    """
    lines, top, images = Lines(lst_path), 0, 0
    most = sys.maxsize if renumber else LARGEST_LABEL
    numbers: Dict[int, int] = {}
    for entry in lines:
        images += 1
        label = entry.label
        if not 0 <= label <= most:
            raise InsightError(f"{lst_path}:{lines.number}: {entry.path} has label {label}, {_why_no_label(label)}")
        if renumber:
            numbers.setdefault(label, len(numbers))
        elif label > top:
            top = label
    return ListSurvey(images, len(numbers) if renumber else top + 1, lines.dialect, numbers if renumber else None)


def _why_no_label(label: int) -> str:
    if label < 0:
        return "which marks unlabelled test images; records need identities, labels >= 0"
    return f"and a set holds labels up to {LARGEST_LABEL}; give --renumber-labels, which renumbers labels 0, 1, 2, .."


def entries_of_list(lst_path: str, surveyed: ListSurvey) -> Iterator[Entry]:
    """Iterate over the entries of a surveyed list, with new labels if :func:`survey_list` renumbered them."""
    numbers = surveyed.numbers
    if numbers is None:
        return iter_lst(lst_path)
    return (entry._replace(label=numbers[entry.label]) for entry in iter_lst(lst_path))


def find_lists(source: str) -> List[str]:
    """Return the lists that a .lst path, a folder or a path prefix (face2rec2's positional argument) refers to.

    Raises
    ------
    InsightError
        No list was found.
    """
    if os.path.isfile(source):
        return [source]
    folder, start = (source, "") if os.path.isdir(source) else os.path.split(source)
    names = sorted(os.listdir(folder or ".")) if os.path.isdir(folder or ".") else []
    paths = [
        os.path.join(folder, n) for n in names if n.startswith(start) and n.lower().endswith(".lst") and n[0] != "."
    ]
    if not paths:
        where = "holds no .lst" if os.path.isdir(source) else "no such list, folder, or beginning of a list's path"
        raise InsightError(f"{source}: {where}; write a list with dir2lst or glint2lst")
    return paths
