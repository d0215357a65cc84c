"""The ``property`` file of a set: one line, ``num_classes,height,width``."""

from __future__ import annotations

import os
from typing import NamedTuple, Union

from ..errors import InsightError
from .atomic import write_text

NAME = "property"
_LARGEST_SIDE = 1 << 14


class Property(NamedTuple):
    """What a set says of itself: labels are below num_classes, images height x width pixels."""

    num_classes: int
    height: int
    width: int

    def text(self) -> str:
        """The file's content, as InsightFace's dataset_merge writes it."""
        return f"{self.num_classes},{self.height},{self.width}"


def read_property(folder: Union[str, os.PathLike[str]]) -> Property:
    """Read ``folder/property`` (or the file itself).

    Raises
    ------
    InsightError
        The file is missing or is not three positive integers on one line.
    """
    path = os.fspath(folder)
    if os.path.isdir(path):
        path = os.path.join(path, NAME)
    try:
        with open(path, "rb") as source:
            raw = source.read(4096)
    except OSError as error:
        raise InsightError(f"{path}: {error.strerror}; want one line: num_classes,height,width") from None
    lines = [line for line in raw.decode("ascii", "backslashreplace").splitlines() if line.strip()]
    only = len(lines) == 1 or lines[2:3] == ["shuffled"]  # rec2shufrec adds count, "shuffled" and date
    fields = lines[0].split(",") if only else []
    if len(fields) != 3 or not all(f.strip().isdigit() and len(f) < 12 for f in fields):
        found = raw[:60].decode("ascii", "backslashreplace")
        raise InsightError(f"{path}: want one line with three integers, num_classes,height,width; found {found!r}")
    num_classes, height, width = (int(f) for f in fields)
    if not num_classes or not 0 < height <= _LARGEST_SIDE or not 0 < width <= _LARGEST_SIDE:
        raise InsightError(
            f"{path}: {num_classes},{height},{width}: want at least one class and sides of 1..{_LARGEST_SIDE} pixels"
        )
    return Property(num_classes, height, width)


def write_property(folder: Union[str, os.PathLike[str]], value: Property) -> None:
    """Write ``folder/property`` atomically. In a set it comes last: it marks the set as whole."""
    write_text(os.path.join(os.fspath(folder), NAME), value.text())
