"""Faces of photos from a file instead of a detector: a table of ``align-faces``, or a .lst with landmarks."""

from __future__ import annotations

import csv
import os
from array import array
from typing import Dict, Iterator, List, Tuple

import numpy as np

from ..errors import InsightError
from ..files.text import open_text
from ..formats.lst import Lines
from ..formats.lstline import Entry
from .face import Face
from .face_table import COLUMNS, face_of

WANT = "want a table that align-faces wrote, or a .lst with landmarks, as glint2lst writes it"
# A face without a box gets that of its points, widened on each side by this share of their larger extent in x or y.
_MARGIN = 0.5
_WIDTH = 17  # numbers per face: box, points, scores


class Landmarks:
    """Faces by the path of their photo, read once and stored compactly, because there may be millions.

    Parameters
    ----------
    path : str
        A table, whose paths are relative to the raw folder; or a .lst, whose paths are relative to it or begin with it.
    raw : str
        The raw folder.
    spelled : str
        Another spelling of the raw folder with which paths of a .lst may begin.

    Raises
    ------
    InsightError
        The file is missing, of another kind, has a bad line, or has no face.
    """

    def __init__(self, path: str, raw: str, spelled: str = ""):
        self._rows: Dict[str, List[int]] = {}
        self._values = array("d")
        rows = _table(path) if _is_table(path) else _list(path, [raw, os.path.abspath(raw), spelled])
        for count, (name, face) in enumerate(rows):
            self._rows.setdefault(name, []).append(count)
            self._values.extend([*face.box, *face.points.ravel(), *face[2:]])
        if not self._rows:
            raise InsightError(f"{path}: has no face; {WANT}")

    def faces(self, photo: str) -> List[Face]:
        """Faces of a photo, given its path below the raw folder; empty if the file has none."""
        faces = []
        for row in self._rows.get(photo, ()):
            values = np.array(self._values[row * _WIDTH : (row + 1) * _WIDTH])
            faces.append(Face(values[:4], values[4:14].reshape(5, 2), *values[14:].tolist()))
        return faces


def _is_table(path: str) -> bool:
    with open_text(path, WANT) as lines:
        return lines.readline().startswith(",".join(COLUMNS[:3]) + ",")


def _table(path: str) -> Iterator[Tuple[str, Face]]:
    with open_text(path, WANT) as source:
        rows = csv.DictReader(source)
        for row in rows:
            try:
                face = face_of(row)
            except ValueError as error:
                raise InsightError(f"{path}:{rows.line_num}: a face without its box and points ({error})") from None
            if face is not None:
                yield row["file"], face


def _list(path: str, folders: List[str]) -> Iterator[Tuple[str, Face]]:
    lines = Lines(path)
    roots = [os.path.join(os.path.normpath(folder), "") for folder in folders if folder]
    for entry in lines:
        if entry.landmarks is None:
            raise InsightError(f"{path}:{lines.number}: {entry.path} has no landmarks; {WANT}")
        name = os.path.normpath(entry.path)
        root = next((root for root in roots if name.startswith(root)), "")
        yield name[len(root) :], _face(entry)


def _face(entry: Entry) -> Face:
    points = np.array(entry.landmarks, np.float64).reshape(2, 5).T
    box = np.array(entry.bbox or (0, 0, 0, 0), np.float64)
    if not (box[2:] > box[:2]).all():
        margin = _MARGIN * np.ptp(points, axis=0).max()
        box = np.concatenate([points.min(axis=0) - margin, points.max(axis=0) + margin])
    return Face(box, points, float("nan"))
