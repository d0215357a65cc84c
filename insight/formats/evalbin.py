"""Verification sets (.bin): a pickle ``(images, issame)``; pair i is images 2i and 2i+1.

Images are encoded: as byte strings in the file of LFW, as uint8 arrays from ``cv2.imencode`` in those of AgeDB
and CFP. Either part may be a list, a tuple or a NumPy array; ``issame`` holds zeros and ones, as booleans or numbers
of any width. Files are read by ``pickled``, which cannot execute code. Written files use the
instructions of Python 2's pickle protocol 2, as the official files do, so InsightFace reads them
on Python 2 without options, and on Python 3 with ``encoding='bytes'``.
"""

from __future__ import annotations

import os
import struct
from typing import Any, List, NamedTuple, Sequence, Tuple, Union

import numpy as np

from ..errors import InsightError
from ..files.atomic import write_beside
from .framing import MAGIC_BYTES
from .pickled.picklenames import BadPickle, settled
from .pickled.pickles import load_plain

REC, BIN = "rec", "bin"
_PICKLES = (b"\x80", b"(", b"]")  # first bytes of a pickled tuple or list, in protocols 0 to 5
_BATCH = 1000  # items per APPENDS, as pickle writes lists
_NUMBERS, _STRINGS = "biuf", "S"  # kinds of NumPy dtypes


class EvalBin(NamedTuple):
    """A verification set: 2P encoded images (bytes-like), and ``issame`` (P,) bool, whether a pair is one identity."""

    images: List[Union[bytes, memoryview]]
    issame: np.ndarray


def read_bin(path: Union[str, os.PathLike[str]]) -> EvalBin:
    """Read a verification set, without executing code that it may contain.

    Raises
    ------
    InsightError
        The file is missing, is not a pickle of plain data, or does not hold two images per pair. The message names
        the invalid item, or the global that the pickle refers to.
    """
    path = os.fspath(path)
    try:
        with open(path, "rb") as source:
            content = source.read()
    except FileNotFoundError:
        raise InsightError(f"{path}: no such file; give a verification .bin, as make-bin writes it") from None
    except IsADirectoryError:
        raise InsightError(f"{path}: a folder, want a verification .bin") from None
    try:
        value = settled(load_plain(content))
    except BadPickle as error:
        raise InsightError(f"{path}: {error}; want a verification set: (images, issame)") from None
    if type(value) not in (tuple, list) or len(value) != 2:
        raise InsightError(f"{path}: a pickled {type(value).__name__}, want a tuple of two: (images, issame)")
    try:
        images, issame = _images(_part(value[0], "images")), _issame(_part(value[1], "issame"))
    except BadPickle as error:
        raise InsightError(f"{path}: {error}") from None
    if len(images) != 2 * len(issame) or not images:
        raise InsightError(
            f"{path}: {len(images)} images for {len(issame)} pairs, want two per pair and one pair at least; "
            f"the file is damaged"
        )
    return EvalBin(images, issame)


def kind_by_content(path: Union[str, os.PathLike[str]]) -> Tuple[str, bytes]:
    """The kind of a file (:data:`REC`, :data:`BIN`, or "" for others) by its first four bytes, and these bytes."""
    with open(path, "rb") as opened:
        start = opened.read(len(MAGIC_BYTES))
    if start == MAGIC_BYTES:
        return REC, start
    return BIN if start[:1] in _PICKLES else "", start


def is_bin(path: Union[str, os.PathLike[str]]) -> bool:
    """Whether a path is a file that is not a .rec by name or content, and so can only be a verification set.

    A damaged file counts as a verification set, unless its name ends in .rec; reading it reports the damage.
    """
    if not os.path.isfile(path) or os.fspath(path).lower().endswith(".rec"):
        return False
    return kind_by_content(path)[0] != REC


def _part(value: Any, what: str) -> Any:
    """A list, tuple or array of a set, or an item of it; ``what`` is its name in messages."""
    try:
        return settled(value)
    except BadPickle as error:
        raise BadPickle(f"{what}: {error}") from None


def _issame(value: Any) -> np.ndarray:
    if isinstance(value, np.ndarray):
        flags = value.reshape(-1)
    elif type(value) in (list, tuple):
        flags = [_flag(_part(item, f"issame, item {i}"), i) for i, item in enumerate(value)]
    else:
        raise BadPickle(f"issame is a {type(value).__name__}, want a list of booleans")
    flags = np.asarray(flags) if len(flags) else np.zeros(0, np.bool_)
    if flags.dtype.kind not in _NUMBERS:
        raise BadPickle(f"issame is an array {flags.dtype}, want booleans, or numbers that are 0 or 1")
    wrong = np.flatnonzero((flags != 0) & (flags != 1))
    if len(wrong):
        raise BadPickle(f"issame, item {wrong[0]}: a number that is neither 0 nor 1, want booleans")
    return flags != 0


def _flag(value: Any, i: int) -> Any:
    """An item of ``issame`` as bool. Raises BadPickle unless it is a boolean or a number that is 0 or 1."""
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in _NUMBERS:
        value = value.item()
    if not isinstance(value, (bool, int, float)) or value not in (0, 1):
        wrong = "number that is neither 0 nor 1" if isinstance(value, (int, float)) else type(value).__name__
        raise BadPickle(f"issame, item {i}: a {wrong}, want booleans")
    return bool(value)


def _images(value: Any) -> list:
    if isinstance(value, np.ndarray):
        value = _rows(value)
    elif type(value) not in (list, tuple):
        raise BadPickle(f"images are a {type(value).__name__}, want a list of encoded images")
    return [_encoded(_part(item, f"image {i}"), i) for i, item in enumerate(value)]


def _rows(images: np.ndarray) -> Sequence:
    """The images of an array: each is a row, or a byte string, which NumPy pads with zeros to the longest one."""
    if images.dtype.kind == _STRINGS and images.size:
        rows = np.ascontiguousarray(images).view(np.uint8).reshape(images.size, -1)
        return [row.tobytes().rstrip(b"\0") for row in rows]
    if images.dtype == np.uint8 and images.ndim == 2 and images.size:
        return np.ascontiguousarray(images)
    raise BadPickle(f"images are an array {images.dtype} {images.shape}, want encoded images, a row of uint8 each")


def _encoded(item: Any, i: int) -> Union[bytes, memoryview]:
    if isinstance(item, np.ndarray) and item.dtype.kind == _STRINGS and item.size == 1:
        return item.item()
    if isinstance(item, np.ndarray):
        if item.dtype != np.uint8 or max(item.shape, default=0) != item.size:
            raise BadPickle(f"image {i} is an array {item.dtype} {item.shape}, want encoded bytes in one dimension")
        return item.reshape(-1).data
    if not isinstance(item, (bytes, memoryview)):
        raise BadPickle(f"image {i} is a {type(item).__name__}, want encoded bytes")
    return item


def write_bin(path: Union[str, os.PathLike[str]], images: Sequence, issame: Sequence[bool]) -> None:
    """Write a verification set atomically.

    Parameters
    ----------
    path : path
    images : sequence of bytes-like
        2P encoded images; pair i is images 2i and 2i+1.
    issame : sequence of bool
        (P,).

    Raises
    ------
    ValueError
        There are not two images per pair.
    """
    if len(images) != 2 * len(issame):
        raise ValueError(f"{len(images)} images for {len(issame)} pairs, want two per pair")
    with write_beside(path) as out:
        out.write(b"\x80\x02")
        _write_list(out, 0, (struct.pack("<ci", b"T", len(image)) + bytes(image) for image in images), len(images))
        _write_list(out, 1, (b"\x88" if same else b"\x89" for same in issame), len(issame))
        out.write(b"\x86.")


def _write_list(out, memo: int, items, count: int) -> None:
    out.write(b"]q%c" % memo)
    for begin in range(0, count, _BATCH):
        size = min(_BATCH, count - begin)
        if size > 1:
            out.write(b"(")
        for _ in range(size):
            out.write(next(items))
        out.write(b"e" if size > 1 else b"a")
