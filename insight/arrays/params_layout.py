"""Layout of an MXNet .params file: a list of named arrays, as ``mx.nd.save`` of MXNet 1.x writes it.

    uint64 0x112, uint64 0, uint64 count; the arrays; uint64 count; for each name uint64 length and its bytes

An array is uint32 0xF993FAC9, int32 0 (dense), int32 number of dimensions, int64 for each dimension; int32 device type
and number (1, 0: CPU), int32 element type, and the elements. All numbers are little-endian.

Source: src/ndarray/ndarray.cc of apache/mxnet@1.9.1 (NDArray::Save, magic V2).
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import IO, Dict, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np

LIST, ARRAY, DENSE, CPU = 0x112, 0xF993FAC9, 0, (1, 0)
TYPES = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6}


class ParamsLayout(NamedTuple):
    """Layout of a file: all of its bytes but the elements of the arrays.

    Attributes
    ----------
    size : int
        Bytes of the file.
    texts : list of (int, bytes)
        Byte offset and content of each part between the elements: headers of arrays; at the end, the names.
    begins : dict of str to int
        Byte offset of each array's elements.
    """

    size: int
    texts: List[Tuple[int, bytes]]
    begins: Dict[str, int]


class StoredArray(NamedTuple):
    """Position, shape and dtype of an array in a file.

    Attributes
    ----------
    path : Path
    begin : int
        Byte offset of its elements.
    shape : tuple of int
    dtype : numpy.dtype
    """

    path: Path
    begin: int
    shape: Tuple[int, ...]
    dtype: np.dtype

    def read(self, rows: slice = slice(None)) -> np.ndarray:
        """Read consecutive rows, all by default: (R, ...); the step of ``rows`` is ignored."""
        begin, end, _ = rows.indices(self.shape[0])
        length = math.prod(self.shape[1:])
        offset = self.begin + begin * length * self.dtype.itemsize
        flat = np.fromfile(self.path, self.dtype, max(0, end - begin) * length, offset=offset)
        return flat.reshape((-1, *self.shape[1:]))


def stored_arrays(path: Path) -> Optional[Dict[str, StoredArray]]:
    """The arrays of a file by name, without reading their elements.

    None if the file is damaged or has another layout, such as that of an older release of MXNet.
    """
    arrays = []
    with open(path, "rb") as file:
        try:
            magic, _, count = _numbers(file, "<QQQ")
            if magic != LIST:
                return None
            for _ in range(count):
                array = _stored_array(path, file)
                if array is None:
                    return None
                arrays.append(array)
                file.seek(array.begin + array.dtype.itemsize * math.prod(array.shape))
            names = [file.read(*_numbers(file, "<Q")).decode() for _ in range(*_numbers(file, "<Q"))]
        except (struct.error, ValueError, OverflowError, MemoryError):  # truncated or damaged
            return None
    return dict(zip(names, arrays))


def _stored_array(path: Path, file: IO[bytes]) -> Optional[StoredArray]:
    magic, kind, dimensions = _numbers(file, "<Iii")
    if (magic, kind) != (ARRAY, DENSE) or dimensions < 1:
        return None
    shape = _numbers(file, f"<{dimensions}q")
    *_, number = _numbers(file, "<3i")
    dtype = {number: np.dtype(name) for name, number in TYPES.items()}.get(number)
    return None if dtype is None else StoredArray(path, file.tell(), shape, dtype)


def _numbers(file: IO[bytes], pattern: str) -> tuple:
    return struct.unpack(pattern, file.read(struct.calcsize(pattern)))


def lay_out(arrays: Mapping[str, Tuple[tuple, np.dtype]]) -> ParamsLayout:
    """Compute the layout of a file.

    Parameters
    ----------
    arrays : mapping of str to (shape, dtype)
        By name, in the order of the file.
    """
    texts, begins = [], {}
    text, offset = struct.pack("<QQQ", LIST, 0, len(arrays)), 0
    for name, (shape, dtype) in arrays.items():
        text += struct.pack(f"<Iii{len(shape)}q", ARRAY, DENSE, len(shape), *shape)
        text += struct.pack("<3i", *CPU, TYPES[np.dtype(dtype).name])
        texts.append((offset, text))
        begins[name] = offset + len(text)
        offset, text = begins[name] + np.dtype(dtype).itemsize * math.prod(shape), b""
    names = [struct.pack("<Q", len(name.encode())) + name.encode() for name in arrays]
    text += struct.pack("<Q", len(arrays)) + b"".join(names)
    texts.append((offset, text))
    return ParamsLayout(offset + len(text), texts, begins)
