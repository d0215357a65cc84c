"""Rows of an array in an uncompressed .npz, read on demand.

A memory map would also read on demand, but the resident memory of the process would grow with every row read.
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
LENGTHS = 26  # offset in that header of the lengths of the name and of the extra field
# Errors of zipfile and NumPy for a damaged .npz, or for a file of another kind.
UNREADABLE = (
    *(OSError, ValueError, KeyError, EOFError, RuntimeError, OverflowError, MemoryError, SyntaxError),
    *(struct.error, tokenize.TokenError, zlib.error, zipfile.BadZipFile),
)
MOST = 120  # characters of a reason in a message


def reason(error: BaseException) -> str:
    """The reason of one of :data:`UNREADABLE`, in one line; NumPy's may have a whole array header, or be empty."""
    return printable(str(error)[:MOST]) or type(error).__name__


class StoredRows:
    """One array of an uncompressed .npz, whose rows are read on demand.

    Parameters
    ----------
    path : path
    name : str
        Name of the array as in ``numpy.load``, without ``.npy``.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype

    Raises
    ------
    KeyError
        The file has no such array.
    ValueError
        The array is compressed, truncated, in Fortran order, of Python objects or without dimensions, or is not in
        NumPy's format 1.0 or 2.0.
    OSError, zipfile.BadZipFile
        The file cannot be read, or is not a zip archive.
    UNREADABLE
        Any of these errors, if the file is damaged.
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
        """Read rows by position, 0 to ``len(self)`` - 1: (B, ...) in the array's dtype.

        Raises
        ------
        ValueError
            The file has been truncated since it was opened.
        OSError
            The file cannot be read.
        """
        rows = np.empty((len(positions), *self.shape[1:]), self.dtype)
        for row, position in enumerate(positions):
            data = os.pread(self._file.fileno(), self._bytes, self._begin + int(position) * self._bytes)
            rows[row] = np.frombuffer(data, self.dtype).reshape(self.shape[1:])
        return rows

    def between(self, begin: int, end: int) -> np.ndarray:
        """Read rows ``begin`` to ``end`` - 1 at once: (end - begin, ...), read-only. Raises as :meth:`read`."""
        count = (end - begin) * self._bytes
        data = os.pread(self._file.fileno(), count, self._begin + begin * self._bytes)
        return np.frombuffer(data, self.dtype).reshape((end - begin, *self.shape[1:]))
