"""OpenCV matrices in files (.bin), as MegaFace's development kit reads and writes them: one file per feature.

A header of four little-endian int32 (rows, columns, bytes per row, type) precedes the numbers, which are stored row by
row. The type is OpenCV's: 5 for float32, 6 for float64. An embedding of E numbers is a column: E rows of one number.
Source: ``matio.py`` of the kit; ``write_bin`` in InsightFace's ``gen_megaface.py`` @9fc3cc9c writes the same bytes.
"""

from __future__ import annotations

import os
import struct
from typing import Union

import numpy as np

from ..errors import InsightError, printable
from ..files.reading import Unreadable, read_file

_HEADER = struct.Struct("<4i")
_TYPES = {5: np.dtype("<f4"), 6: np.dtype("<f8")}
_TYPE_OF = {dtype: number for number, dtype in _TYPES.items()}
_WANT = "want an OpenCV matrix: int32 rows, columns, bytes of a row and type (5 or 6), then the numbers"


def to_bytes(matrix: np.ndarray) -> bytes:
    """Encode a matrix as the bytes of a file.

    Parameters
    ----------
    matrix : numpy.ndarray
        (R, C) float32 or float64; (R,) is written as a column.
    """
    rows, columns = (*matrix.shape, 1)[:2]
    header = _HEADER.pack(rows, columns, columns * matrix.itemsize, _TYPE_OF[matrix.dtype])
    return header + np.ascontiguousarray(matrix).tobytes()


def read_matrix(path: Union[str, os.PathLike[str]]) -> np.ndarray:
    """Read a matrix: (R, C) float32 or float64.

    Raises
    ------
    InsightError
        The file is missing, its header is not valid, or its size differs from that in the header.
    """
    path = os.fspath(path)
    try:
        data = read_file(path)
    except Unreadable as error:
        raise InsightError(f"{printable(path)}: {error}; {_WANT}") from None
    if len(data) < _HEADER.size:
        raise InsightError(f"{printable(path)}: {_WANT}; found {len(data)} bytes")
    rows, columns, stride, kind = _HEADER.unpack_from(data)
    if kind not in _TYPES or rows < 1 or columns < 1 or stride != columns * _TYPES[kind].itemsize:
        raise InsightError(f"{printable(path)}: {_WANT}; found {rows}, {columns}, {stride}, {kind}")
    if len(data) != _HEADER.size + rows * stride:
        raise InsightError(
            f"{printable(path)}: {rows} rows of {stride} bytes make {_HEADER.size + rows * stride} bytes with the "
            f"header, found {len(data)}; the file is cut short or damaged, write it again"
        )
    return np.frombuffer(data, _TYPES[kind], offset=_HEADER.size).reshape(rows, columns).copy()
