"""Arrays that are divided among the ranks by rows."""

from __future__ import annotations

import math
import zlib
from typing import IO, Any, Callable, Dict, Iterator, Mapping, NamedTuple

import numpy as np

BLOCK = 1 << 20  # elements copied at once


class Shard(NamedTuple):
    """Position of a rank's rows in a divided array.

    Attributes
    ----------
    begin : int
        Index of the rank's first row.
    total : int
        Number of rows of all ranks.
    """

    begin: int
    total: int


class OwnRows(NamedTuple):
    """A rank's rows of a divided array, which the ranks write to one file.

    Attributes
    ----------
    array : numpy.ndarray or mxnet.nd.NDArray
    shard : Shard
    """

    array: Any
    shard: Shard

    @property
    def shape(self) -> tuple:
        """Shape of the whole array."""
        return (self.shard.total, *self.array.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.array.dtype)

    @property
    def begin(self) -> int:
        """Offset of these rows in the data of the whole array, in bytes."""
        return self.shard.begin * self.dtype.itemsize * math.prod(self.array.shape[1:])


def as_own_rows(arrays: Mapping[str, Any], shards: Mapping[str, Shard]) -> Dict[str, Any]:
    """Copy of ``arrays`` in which each array with only some of the rows is an :class:`OwnRows`."""
    parts = dict(arrays)
    for name, shard in shards.items():
        if name in arrays and arrays[name].shape[0] < shard.total:
            parts[name] = OwnRows(arrays[name], shard)
    return parts


def write_at(out: IO[bytes], offset: int, array: Any) -> int:
    """Write an array's elements at an offset in bytes, block by block; return the CRC-32 of their bytes."""
    out.seek(offset)
    crc = 0
    for block in blocks_of(array):
        crc = zlib.crc32(block.data, crc)
        out.write(block.data)
    return crc


def blocks_of(array: Any) -> Iterator[np.ndarray]:
    """Yield the elements in order, in flat blocks on the host."""
    flat = array.reshape((-1,))
    for begin in range(0, flat.shape[0], BLOCK):
        block = flat[begin : begin + BLOCK]
        yield block if isinstance(block, np.ndarray) else block.asnumpy()


def fill(array: Any, read: Callable[[int, int], np.ndarray]) -> None:
    """Fill an array in place, block by block; ``read(begin, end)`` returns the values of these rows."""
    step = max(1, BLOCK // max(1, math.prod(array.shape[1:])))
    for begin in range(0, array.shape[0], step):
        end = min(begin + step, array.shape[0])
        array[begin:end] = read(begin, end)
