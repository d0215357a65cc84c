"""The ``property`` file of a set: ``num_classes,height,width`` on its first line.

Further lines are ignored, unless they have three other integers: InsightFace's rec_builder.py adds the number of
records, rec2shufrec.py more.
"""

from __future__ import annotations

import os
from typing import NamedTuple, Optional, Union

from ..errors import InsightError
from ..files.atomic import write_text
from ..files.text import BLANK, excerpt, open_text, ways, whole

NAME = "property"
_LARGEST_SIDE = 1 << 14
_MOST_TEXT = 4096  # characters that are read


class Property(NamedTuple):
    """Properties of a set: labels are below ``num_classes``, images have height x width pixels."""

    num_classes: int
    height: int
    width: int

    def text(self) -> str:
        """Content of the file, as InsightFace's dataset_merge writes it."""
        return f"{self.num_classes},{self.height},{self.width}"


def read_property(folder: Union[str, os.PathLike[str]]) -> Property:
    """Read ``folder/property`` (or the file itself).

    Raises
    ------
    InsightError
        The file is missing, its first line is not three positive integers, a side exceeds 16384 pixels, or another
        line has three different integers.
    """
    path = os.fspath(folder)
    if os.path.isdir(path):
        path = os.path.join(path, NAME)
    want = "want num_classes,height,width on its first line"
    with open_text(path, want) as source:
        lines = [line.partition("#")[0].strip(BLANK) for line in source.read(_MOST_TEXT).split("\n")]
    lines = [line for line in lines if line]
    if len(lines) > 1 and not any(map(str.isdigit, lines[0])):
        del lines[0]  # a heading
    values = [value for value in map(_three, lines) if value is not None]
    if not values or values[0] != _three(lines[0]):
        raise InsightError(f"{path}: {want}, three integers; found {excerpt(' '.join(lines))}")
    if set(values) != {values[0]}:
        raise InsightError(f"{path}: has {values[0].text()} and {values[1].text()}; want one of them, {want[5:]}")
    num_classes, height, width = values[0]
    if num_classes < 1 or not 0 < height <= _LARGEST_SIDE or not 0 < width <= _LARGEST_SIDE:
        raise InsightError(
            f"{path}: {num_classes},{height},{width}: want at least one class and sides of 1..{_LARGEST_SIDE} pixels"
        )
    return values[0]


def _three(line: str) -> Optional[Property]:
    """The three integers of a line; None if there are not exactly three."""
    for fields in ways(line):
        try:
            return Property(*map(whole, fields)) if len(fields) == 3 else None
        except ValueError:
            continue
    return None


def write_property(folder: Union[str, os.PathLike[str]], value: Property) -> None:
    """Write ``folder/property`` atomically. Written last, it marks a set as complete."""
    write_text(os.path.join(os.fspath(folder), NAME), value.text())
