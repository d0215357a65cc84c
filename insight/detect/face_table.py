"""The table of a run: a row per detected face, and one per photo without a face."""

from __future__ import annotations

import csv
import io
import math
from typing import Dict, Iterable, List, NamedTuple, Optional

import numpy as np

from .crop import Measures
from .face import Face

NUMBERS = (
    "x1 y1 x2 y2 left_eye_x left_eye_y right_eye_x right_eye_y nose_x nose_y "
    "left_mouth_x left_mouth_y right_mouth_x right_mouth_y"
).split()
SCORES = ("score", "look_score", "moved")
COLUMNS = [
    *("file", "face", "faces", "decision", "reason", "crop"),
    *NUMBERS,
    *SCORES,
    *("eye_distance", "sharpness", "outside", "cosine", "warning"),
]
HEADING = ",".join(COLUMNS) + "\n"
KEPT, REJECTED, SKIPPED = "kept", "rejected", "skipped"  # a face with a crop, one without, a photo without a face


class FaceRow(NamedTuple):
    """A row of the table: a face, or a photo without one.

    Attributes
    ----------
    file : str
        Path of the photo below the raw folder.
    decision : str
        ``kept``, ``rejected`` or ``skipped``.
    reason : str
        For a rejected face, a text without values; for a photo without a face, its problem; ``ambiguous`` for a kept
        face whose person is not certain; else "".
    number, faces : int
        Number of the face, 0 for the largest, and number of faces in the photo; 0, 0 for a photo without a face.
    crop : str
        Path of the crop below the output folder; "" without a crop.
    face : Face, optional
    measures : Measures, optional
    cosine : float
        Cosine to the centre of the folder's person; NaN if it was not computed.
    warning : str
        The decoder's warning about damaged data; "" for none.
    """

    file: str
    decision: str
    reason: str = ""
    number: int = 0
    faces: int = 0
    crop: str = ""
    face: Optional[Face] = None
    measures: Optional[Measures] = None
    cosine: float = math.nan
    warning: str = ""


def rounded(face: Face) -> Face:
    """Round a face to the digits of the table, so that landmarks read from a table give the same crops."""
    return Face(
        _decimals(face.box, 2),
        _decimals(face.points, 2),
        *(float(_number(value, digits) or math.nan) for value, digits in zip(face[2:], _DIGITS)),
    )


_DIGITS = (4, 4, 2)  # decimals of SCORES


def to_csv(rows: Iterable[FaceRow]) -> str:
    """Format rows as lines of the table, without the heading."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(_fields, rows))
    return text.getvalue()


def face_of(row: Dict[str, str]) -> Optional[Face]:
    """Read the face of a row from :class:`csv.DictReader`; None for a photo without a face.

    Raises
    ------
    ValueError
        A field is missing, is not a number, or is a coordinate that is not finite.
    """
    if not any(row.get(name) for name in NUMBERS):
        return None
    values = np.array([float(row.get(name) or "missing") for name in NUMBERS])
    if not np.isfinite(values).all():
        raise ValueError("a coordinate is not finite")
    return Face(values[:4], values[4:].reshape(5, 2), *(float(row.get(name) or math.nan) for name in SCORES))


def _fields(row: FaceRow) -> List[str]:
    fields = [row.file, str(row.number), str(row.faces), row.decision, row.reason, row.crop]
    if row.face is None:
        fields += [""] * (len(NUMBERS) + len(SCORES))
    else:
        fields += [_number(value, 2) for value in (*row.face.box, *row.face.points.ravel())]
        fields += [_number(value, digits) for value, digits in zip(row.face[2:], _DIGITS)]
    measures = row.measures or (math.nan,) * 3
    fields += [_number(value, digits) for value, digits in zip(measures, (1, 1, 4))]
    return [*fields, _number(row.cosine, 3), row.warning]


def _number(value: float, digits: int) -> str:
    """Format a number with ``digits`` decimals; "" for NaN."""
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def _decimals(values: np.ndarray, digits: int) -> np.ndarray:
    return np.array([float(_number(value, digits)) for value in values.ravel()]).reshape(values.shape)
