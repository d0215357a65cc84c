"""Arrays that the ranks have together, each some of the rows."""

from __future__ import annotations

import math
import zlib
from typing import IO, Any, Callable, Dict, Iterator, Mapping, NamedTuple

import numpy as np

BLOCK = 1 << 20  # elements that are copied at once


class Shard(NamedTuple):
    """The rows that a rank has of such an array.

    Attributes
    ----------
    begin : int
        The first.
    total : int
        Rows of all ranks.
    """

    begin: int
    total: int


class OwnRows(NamedTuple):
    """A rank's rows, as they are to be written to a file with those of the others.

    Attributes
    ----------
    array : numpy.ndarray or mxnet.nd.NDArray
    shard : Shard
    """

    array: Any
    shard: Shard

    @property
    def shape(self) -> tuple:
        """Of the array of all ranks."""
        return (self.shard.total, *self.array.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.array.dtype)

    @property
    def begin(self) -> int:
        """Bytes of the rows before."""
        return self.shard.begin * self.dtype.itemsize * math.prod(self.array.shape[1:])


def as_own_rows(arrays: Mapping[str, Any], shards: Mapping[str, Shard]) -> Dict[str, Any]:
    """Arrays by name, those of which this rank has some of the rows as a :class:`OwnRows`."""
    parts = dict(arrays)
    for name, shard in shards.items():
        if name in arrays and arrays[name].shape[0] < shard.total:
            parts[name] = OwnRows(arrays[name], shard)
    return parts


def write_at(out: IO[bytes], offset: int, array: Any) -> int:
    """Write an array's elements, a block at a time; returns the CRC-32 of their bytes."""
    out.seek(offset)
    crc = 0
    for block in blocks_of(array):
        crc = zlib.crc32(block.data, crc)
        out.write(block.data)
    return crc


def blocks_of(array: Any) -> Iterator[np.ndarray]:
    """The elements in order, in blocks on the host."""
    flat = array.reshape((-1,))
    for begin in range(0, flat.shape[0], BLOCK):
        block = flat[begin : begin + BLOCK]
        yield block if isinstance(block, np.ndarray) else block.asnumpy()


def fill(array: Any, read: Callable[[int, int], np.ndarray]) -> None:
    """Fill an array from a file, a block of rows at a time; ``read(begin, end)`` gives some of its rows."""
    step = max(1, BLOCK // max(1, math.prod(array.shape[1:])))
    for begin in range(0, array.shape[0], step):
        end = min(begin + step, array.shape[0])
        array[begin:end] = read(begin, end)
