"""The .idx file: one ``key TAB offset`` line per record, as text.

Ten million lines are common (MS1M has six million, Glint360K seventeen), so the text is parsed in
blocks by NumPy. This applies to blocks of digits, tabs and line ends (those of Windows too) in the right
order; other blocks go to a slow reader, which accepts blanks for tabs, blank lines and other spellings of
an integer, and names the bad line.
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

BLOCK_BYTES = 1 << 20
_BREAK_ROWS = 1 << 17
_FEW_RUNS = 1 << 12
_SHORTEST_LINE = len(b"0\t0\n")
_LONGEST_LINE = 1 << 16
_MAX_DIGITS = 18  # of a number that always fits int64


def read_idx(path: str) -> Tuple[np.ndarray, np.ndarray]:
    """Keys and offsets of an .idx file, in the file's order.

    Returns
    -------
    keys, offsets : np.ndarray, np.ndarray
        (N,) int64 each.

    Raises
    ------
    InsightError
        The file is missing, or a line is not two non-negative integers separated by a tab or blanks.
    """
    try:
        with open(path, "rb", buffering=0) as lines:
            most = os.fstat(lines.fileno()).st_size // _SHORTEST_LINE + 1
            keys, offsets = np.empty(most, np.int64), np.empty(most, np.int64)  # pages use memory once written
            rows = _fill(_blocks(lines), keys, offsets, path)
    except FileNotFoundError:
        raise InsightError(f"{path}: no such file; `{remedies.in_place(_rec_path_of(path))}` writes it") from None
    except IsADirectoryError:
        raise InsightError(f"{path}: a folder, want the .idx of a .rec") from None
    keys.resize(rows, refcheck=False)
    offsets.resize(rows, refcheck=False)
    return keys, offsets


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """The file in non-empty parts: UTF-16 and 32 as ASCII, line ends as LF."""
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


def _fill(blocks: Iterator[bytes], keys: np.ndarray, offsets: np.ndarray, path: str) -> int:
    """Fill both arrays; returns the number of records."""
    row, line, rest = 0, 1, b""
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
            line += text.count(b"\n") - len(pairs) // 2  # lines without a record
        end = row + len(pairs) // 2
        keys[row:end] = pairs[0::2]
        offsets[row:end] = pairs[1::2]
        row, line = end, line + end - row
    return row


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


class KeyTable:
    """Map keys to rows of an .idx, by runs of consecutive keys: a set in order has two or three.

    Raises
    ------
    InsightError
        A key occurs twice.
    """

    def __init__(self, keys: np.ndarray, idx_path: str):
        self._idx_path = idx_path
        rows = np.concatenate([[0], _breaks(keys)]) if len(keys) else np.zeros(0, np.int64)
        lengths = np.diff(rows, append=len(keys))
        order = np.argsort(keys[rows], kind="stable")
        self._rows, self._lengths = rows[order], lengths[order]
        self._starts = keys[self._rows]
        repeated = np.flatnonzero(self._starts[1:] < (self._starts + self._lengths)[:-1])
        if len(repeated):
            remedy = remedies.in_place(_rec_path_of(idx_path), overwrite=True)
            raise InsightError(
                f"{idx_path}: key {self._starts[repeated[0] + 1]} occurs twice; want a key of its own for each record "
                f"(an im2rec list with a repeated index gives this); `{remedy}` rebuilds the .idx from the .rec"
            )
        self._search = self._starts.tolist() if len(rows) <= _FEW_RUNS else self._starts

    def find(self, key: int) -> int:
        """The row of a key, or -1."""
        run = bisect_right(self._search, key) - 1
        if run < 0:
            return -1
        inside = int(key) - int(self._starts[run])
        return int(self._rows[run]) + inside if inside < self._lengths[run] else -1

    def find_all(self, keys: np.ndarray) -> np.ndarray:
        """(N,) int64 rows of keys. Raises InsightError for an unknown key."""
        run = np.searchsorted(self._starts, keys, side="right") - 1
        if len(self._starts):
            inside = keys - self._starts[run]
            missing = (run < 0) | (inside >= self._lengths[run])
        else:
            inside, missing = keys, np.ones(len(keys), bool)
        if missing.any():
            raise InsightError(f"{self._idx_path}: no key {keys[missing][0]} among its keys")
        return self._rows[run] + inside


def _breaks(keys: np.ndarray) -> np.ndarray:
    """Rows whose key is not the previous key plus 1, computed in blocks to keep temporaries small."""
    rows = [np.zeros(0, np.int64)]
    for begin in range(1, len(keys), _BREAK_ROWS):
        part = keys[begin - 1 : begin + _BREAK_ROWS]
        rows.append(np.flatnonzero(part[1:] != part[:-1] + 1) + begin)
    return np.concatenate(rows)


def idx_path_of(rec_path: str) -> str:
    """The .idx of a .rec: the same name with the suffix ``.idx``."""
    return os.path.splitext(os.fspath(rec_path))[0] + ".idx"


def _rec_path_of(idx_path: str) -> str:
    return os.path.splitext(os.fspath(idx_path))[0] + ".rec"
