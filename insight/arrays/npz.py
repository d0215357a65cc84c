"""Rows of an array in an uncompressed .npz, read from the file when they are asked for.

A memory map would do the same, but the process's resident memory would grow with every row that was ever read.
"""

from __future__ import annotations

import math
import os
import struct
import tokenize
import zipfile
import zlib

import numpy as np

from ..errors import printable

LOCAL_HEADER = 30  # bytes of a zip entry's header before its name
LENGTHS = 26  # where it has the lengths of the name and of the extra field
# What zipfile and NumPy raise for an .npz that is damaged, or is none.
UNREADABLE = (
    *(OSError, ValueError, KeyError, EOFError, RuntimeError, OverflowError, MemoryError, SyntaxError),
    *(struct.error, tokenize.TokenError, zlib.error, zipfile.BadZipFile),
)
MOST = 120  # characters of a reason


def reason(error: BaseException) -> str:
    """One of :data:`UNREADABLE` in one line; some of NumPy's messages have a whole header, some are empty."""
    return printable(str(error)[:MOST]) or type(error).__name__


class StoredRows:
    """One array of an .npz; opens without reading it.

    Parameters
    ----------
    path : path
    name : str
        As in ``numpy.load``, without ``.npy``.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype

    Raises
    ------
    KeyError
        The file has no such array.
    ValueError
        The array is compressed, is not one of rows, is cut short, or is not in NumPy's format.
    OSError, zipfile.BadZipFile
        The file cannot be read, or is no zip archive.
    UNREADABLE
        One of these, where the file is damaged.
    """

    def __init__(self, path, name: str):
        with zipfile.ZipFile(path) as archive:
            entry = archive.getinfo(f"{name}.npy")
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{name} is compressed, as numpy.savez_compressed writes it")
        self._file = open(path, "rb")
        self._file.seek(entry.header_offset + LENGTHS)
        self._file.seek(entry.header_offset + LOCAL_HEADER + sum(struct.unpack("<HH", self._file.read(4))))
        version = np.lib.format.read_magic(self._file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise ValueError(f"{name} has another format")
        self.shape, fortran_order, self.dtype = readers[version](self._file)
        if self.dtype.hasobject or fortran_order or not self.shape:
            raise ValueError(f"{name} is not an array of rows")
        self._begin = self._file.tell()
        self._bytes = self.dtype.itemsize * math.prod(self.shape[1:])  # of a row
        if os.fstat(self._file.fileno()).st_size < self._begin + len(self) * self._bytes:
            raise ValueError(f"{name} is cut short")

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, positions) -> np.ndarray:
        """Rows by position, of 0 to ``len(self)`` - 1: (B, ...) in the array's type.

        Raises
        ------
        ValueError
            The file has been cut short since it was opened.
        OSError
        """
        rows = np.empty((len(positions), *self.shape[1:]), self.dtype)
        for row, position in enumerate(positions):
            data = os.pread(self._file.fileno(), self._bytes, self._begin + int(position) * self._bytes)
            rows[row] = np.frombuffer(data, self.dtype).reshape(self.shape[1:])
        return rows

    def between(self, begin: int, end: int) -> np.ndarray:
        """Rows ``begin`` to ``end`` - 1, in one read."""
        count = (end - begin) * self._bytes
        data = os.pread(self._file.fileno(), count, self._begin + begin * self._bytes)
        return np.frombuffer(data, self.dtype).reshape((end - begin, *self.shape[1:]))
