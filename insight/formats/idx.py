"""The .idx file: one ``key TAB offset`` line per record, as text.

Ten million lines are common (MS1M has six million, Glint360K seventeen), so the text is parsed in
blocks by NumPy, if a block has only digits, tabs (or single blanks) and line ends in the right order. Other
blocks go to a slow reader, which accepts any blanks, blank lines and other notations of an integer, and names
the invalid line.
"""

from __future__ import annotations

import codecs
import os
from bisect import bisect_right
from itertools import chain
from typing import BinaryIO, Iterator, List, Tuple

import numpy as np

from ..errors import InsightError
from ..files.text import BLANK, encoding_of, excerpt, split, whole
from . import remedies
from .keyruns import KeyRuns

BLOCK_BYTES = 1 << 20
_FEW_RUNS = 1 << 12
_SHORTEST_LINE = len(b"0\t0\n")
_LONGEST_LINE = 1 << 16
_MAX_DIGITS = 18  # any number of so many digits fits int64


def read_idx(path: str) -> Tuple[np.ndarray, np.ndarray]:
    """Read the keys and offsets of an .idx file, in the file's order; 16 bytes of memory per line.

    Returns
    -------
    keys, offsets : np.ndarray, np.ndarray
        (N,) int64 each.

    Raises
    ------
    InsightError
        As :func:`idx_blocks`.
    """
    most, blocks = most_lines(path), idx_blocks(path)
    keys, offsets = np.empty(most, np.int64), np.empty(most, np.int64)  # pages that are not written use no memory
    end = 0
    for some_keys, some_offsets in blocks:
        begin, end = end, end + len(some_keys)
        keys[begin:end], offsets[begin:end] = some_keys, some_offsets
    keys.resize(end, refcheck=False)
    offsets.resize(end, refcheck=False)
    return keys, offsets


def most_lines(path: str) -> int:
    """Upper bound of the number of lines of an .idx file; 0 if there is no such file."""
    return os.stat(path).st_size // _SHORTEST_LINE + 1 if os.path.isfile(path) else 0


def idx_blocks(path: str) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
    """Read the keys and offsets of an .idx file, in the file's order, in blocks of about 1 MiB of text.

    Yields
    ------
    keys, offsets : np.ndarray, np.ndarray
        (n,) int64 each.

    Raises
    ------
    InsightError
        The file is missing, or a line is not two non-negative integers separated by a tab or blanks.
    """
    try:
        with open(path, "rb", buffering=0) as lines:
            yield from _pairs(_blocks(lines), path)
    except FileNotFoundError:
        raise InsightError(f"{path}: no such file; `{remedies.in_place(_rec_path_of(path))}` writes it") from None
    except IsADirectoryError:
        raise InsightError(f"{path}: a folder, want the .idx of a .rec") from None


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield the file in non-empty blocks; UTF-16 and UTF-32 are converted to UTF-8, and line ends to LF."""
    encoding, mark = encoding_of(file.read(4))
    file.seek(mark)
    decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)("replace")
    carried = b""  # a CR whose LF may be in the next block
    block = b"\n"
    while block:
        block = text = file.read(BLOCK_BYTES)
        if decoder is not None:
            text = decoder.decode(block, not block).encode("utf-8", "backslashreplace")
        text = carried + text
        carried = b"\r" if block and text.endswith(b"\r") else b""
        text = text[: len(text) - len(carried)]
        if text:
            yield text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text


def _pairs(blocks: Iterator[bytes], path: str) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
    line, rest = 1, b""
    for block in chain(blocks, [b""]):
        text = rest + block if block else rest + b"\n" * bool(rest)
        cut = text.rfind(b"\n") + 1
        text, rest = text[:cut], text[cut:]
        if len(rest) > _LONGEST_LINE:
            text, rest = text + rest[:_LONGEST_LINE] + b"\n", b""  # raises below
        if not text:
            continue
        pairs = _parse(text)
        if pairs is None and b" " in text:
            pairs = _parse(text.replace(b" ", b"\t"))
        if pairs is None:
            pairs = _parse_slowly(text, line, path)
            line += text.count(b"\n") - len(pairs) // 2  # blank lines
        line += len(pairs) // 2
        yield pairs[0::2], pairs[1::2]


def _parse(text: bytes):
    count = text.count(b"\n")
    if text.translate(None, b"0123456789") != b"\t\n" * count:
        return None
    pairs = np.fromstring(text, dtype=np.int64, sep=" ")  # any white space is a separator
    if len(pairs) != 2 * count or pairs.max(initial=0) >= 10**_MAX_DIGITS:
        return None
    return pairs


def _parse_slowly(text: bytes, first_line: int, path: str) -> np.ndarray:
    pairs: List[int] = []
    for number, line in enumerate(text.split(b"\n")[:-1], first_line):
        shown = line.decode("utf-8", "backslashreplace").strip(BLANK)
        if not shown:
            continue
        try:
            key, offset = map(whole, split(shown, None))
            if not (0 <= key < 10**_MAX_DIGITS and 0 <= offset < 10**_MAX_DIGITS):
                raise ValueError
        except ValueError:
            raise InsightError(
                f"{path}:{number}: want an integer key, a tab and a byte offset, found {excerpt(shown)}; "
                f"`{remedies.in_place(_rec_path_of(path), overwrite=True)}` rebuilds it from the .rec"
            ) from None
        pairs += key, offset
    return np.array(pairs, dtype=np.int64)


def refuse_repeated(keys: KeyRuns, idx_path: str) -> None:
    """Raise InsightError if a key of an .idx occurs twice."""
    key = keys.repeated()
    if key is not None:
        remedy = remedies.in_place(_rec_path_of(idx_path), overwrite=True)
        raise InsightError(
            f"{idx_path}: key {key} occurs twice; want a key of its own for each record (an im2rec list with a "
            f"repeated index gives this); `{remedy}` rebuilds the .idx from the .rec"
        )


class KeyTable:
    """Map from distinct keys to their rows in an .idx, by runs of consecutive keys."""

    def __init__(self, keys: KeyRuns):
        order = np.argsort(keys.starts, kind="stable")
        self._rows, self._lengths, self._starts = keys.begins[:-1][order], keys.lengths[order], keys.starts[order]
        self._search = self._starts.tolist() if len(order) <= _FEW_RUNS else self._starts

    def find(self, key: int) -> int:
        """The row of a key; -1 if it is missing."""
        run = bisect_right(self._search, key) - 1
        if run < 0:
            return -1
        inside = int(key) - int(self._starts[run])
        return int(self._rows[run]) + inside if inside < self._lengths[run] else -1

    def find_all(self, keys: np.ndarray) -> np.ndarray:
        """(N,) int64 rows of keys (N,); -1 for missing keys."""
        if not len(self._starts):
            return np.full(len(keys), -1)
        run = np.searchsorted(self._starts, keys, side="right") - 1
        inside = keys - self._starts[run]
        return np.where((run < 0) | (inside >= self._lengths[run]), -1, self._rows[run] + inside)


def idx_path_of(rec_path: str) -> str:
    """The .idx of a .rec: the same name with the suffix ``.idx``."""
    return os.path.splitext(os.fspath(rec_path))[0] + ".idx"


def _rec_path_of(idx_path: str) -> str:
    return os.path.splitext(os.fspath(idx_path))[0] + ".rec"
