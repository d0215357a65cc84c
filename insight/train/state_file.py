"""Writing of a run's state: an uncompressed .npz in NumPy's format, which all ranks write together.

Arrays are written in blocks, as ``numpy.savez`` would need memory for a second copy of them. Each rank writes its own
rows of an array that is divided among the ranks. The layout of the file does not depend on the number of ranks.
"""

from __future__ import annotations

import io
import json
import math
import zlib
from pathlib import Path
from typing import IO, Any, Dict, List, Mapping, Tuple

import numpy as np

from ..arrays.stored_zip import ArchiveEntry, directory, directory_size, header, joined_crc
from ..ranks.group import Ranks
from ..ranks.own_rows import OwnRows, write_at
from ..ranks.shared_file import raised_on_all, written_together

META = "meta"
SUFFIX = ".npy"  # of an array's entry


def write(path: Path, meta: dict, arrays: Mapping[str, Any], ranks: Ranks) -> None:
    """Write a state, replacing the previous one. All ranks call it together.

    Parameters
    ----------
    path : Path
    meta : dict
        JSON-serialisable; that of rank 0 is written.
    arrays : mapping of str to NDArray, numpy.ndarray or OwnRows
        Array by name; any name except ``meta``. Rank 0 writes the whole arrays, and each rank its own rows.
    ranks : Ranks

    Raises
    ------
    InsightError, OSError
        Writing failed on a rank (:func:`insight.ranks.shared_file.written_together`); the previous state is unchanged.
    """
    arrays = {META: np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays}
    entries = [ArchiveEntry(*entry) for entry in ranks.objects("state/entries", _entries(arrays, ranks))[0]]
    size = entries[-1].end + directory_size(entries)
    with written_together(path, size, ranks) as out:
        with raised_on_all(ranks, "state/rows", path):
            sums = [_write(out, entry, arrays, ranks) for entry in entries]
        by_rank = ranks.objects("state/sums", sums)
        if ranks.rank == 0:
            entries = [entry._replace(crc=_joined(parts)) for entry, parts in zip(entries, zip(*by_rank))]
            for entry in entries:
                out.seek(entry.offset)
                out.write(header(entry))
            out.seek(entries[-1].end)
            out.write(directory(entries))


def _entries(arrays: Mapping[str, Any], ranks: Ranks) -> List[ArchiveEntry]:
    """Zip entries of the arrays on rank 0; empty on other ranks, which may lack some of the arrays."""
    entries: List[ArchiveEntry] = []
    for name, array in arrays.items() if ranks.rank == 0 else ():
        size = len(_npy_header(array)) + np.dtype(array.dtype).itemsize * math.prod(array.shape)
        entries.append(ArchiveEntry(name + SUFFIX, size, entries[-1].end if entries else 0))
    return entries


def _write(out: IO[bytes], entry: ArchiveEntry, arrays: Mapping[str, Any], ranks: Ranks) -> Tuple[int, int]:
    """Write this rank's part of an entry; returns (CRC-32, number) of the bytes written."""
    array = arrays.get(entry.name[: -len(SUFFIX)])
    if ranks.rank > 0 and not isinstance(array, OwnRows):
        return 0, 0
    text = _npy_header(array)
    begin = entry.begin + len(text)
    rows, skipped = (array.array, array.begin) if isinstance(array, OwnRows) else (array, 0)
    crc, count = write_at(out, begin + skipped, rows), np.dtype(rows.dtype).itemsize * math.prod(rows.shape)
    if ranks.rank > 0:
        return crc, count
    out.seek(entry.begin)
    out.write(text)
    return joined_crc(zlib.crc32(text), crc, count), len(text) + count


def _joined(parts: List[Tuple[int, int]]) -> int:
    """CRC-32 of an entry from (CRC-32, number of bytes) of each rank's part, in rank order."""
    crc = 0
    for other, count in parts:
        crc = joined_crc(crc, other, count)
    return crc


def _npy_header(array: Any) -> bytes:
    """Header of an array in NumPy's .npy format, version 1.0."""
    about: Dict[str, Any] = {"descr": np.lib.format.dtype_to_descr(np.dtype(array.dtype)), "fortran_order": False}
    text = io.BytesIO()
    np.lib.format.write_array_header_1_0(text, {**about, "shape": tuple(array.shape)})
    return text.getvalue()
