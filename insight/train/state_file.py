"""Writing the state of a run: an .npz in NumPy's format, uncompressed, which all ranks write together.

Arrays go into it in blocks: ``numpy.savez`` would need memory for a second copy of them. Of an array that is divided
among the ranks, each writes its rows; the file is the same however many there are.
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
    """Write a state in place of the one before. All ranks call it together.

    Parameters
    ----------
    path : Path
    meta : dict
        For JSON; that of rank 0 is written.
    arrays : mapping of str to NDArray, numpy.ndarray or OwnRows
        Any name but ``meta``, to the array that is saved under it. Those of rank 0 are written, and the parts of all.
    ranks : Ranks
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
    """Where each array stands; only rank 0 knows all of them."""
    entries: List[ArchiveEntry] = []
    for name, array in arrays.items() if ranks.rank == 0 else ():
        size = len(_npy_header(array)) + np.dtype(array.dtype).itemsize * math.prod(array.shape)
        entries.append(ArchiveEntry(name + SUFFIX, size, entries[-1].end if entries else 0))
    return entries


def _write(out: IO[bytes], entry: ArchiveEntry, arrays: Mapping[str, Any], ranks: Ranks) -> Tuple[int, int]:
    """(CRC-32, number) of the bytes of an entry that this rank wrote."""
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
    """The CRC of an entry, from those of the ranks' parts."""
    crc = 0
    for other, count in parts:
        crc = joined_crc(crc, other, count)
    return crc


def _npy_header(array: Any) -> bytes:
    """What stands before the elements."""
    about: Dict[str, Any] = {"descr": np.lib.format.dtype_to_descr(np.dtype(array.dtype)), "fortran_order": False}
    text = io.BytesIO()
    np.lib.format.write_array_header_1_0(text, {**about, "shape": tuple(array.shape)})
    return text.getvalue()
