"""Verification sets (.bin): a pickle ``(images, issame)``; pair i is images 2i and 2i+1.

Entries are encoded images: byte strings in LFW's, uint8 arrays from ``cv2.imencode`` in AgeDB's
and CFP's. They are read by ``pickles``, which cannot run anything. Written files have the
instructions that Python 2's pickle protocol 2 gives, as the official ones do, so InsightFace
reads them on Python 2 as they are, and on Python 3 with ``encoding='bytes'``.
"""

from __future__ import annotations

import os
import struct
from typing import List, NamedTuple, Sequence, Union

import numpy as np

from ..errors import InsightError
from .atomic import write_beside
from .picklenames import BadPickle, settled
from .pickles import load_plain

_BATCH = 1000  # items per APPENDS, as pickle writes lists
_MAX_BINSTRING = (1 << 31) - 1


class EvalBin(NamedTuple):
    """``images`` has 2P encoded images (bytes-like); ``issame`` is (P,) bool: same person or not."""

    images: List[Union[bytes, memoryview]]
    issame: np.ndarray


def read_bin(path: Union[str, os.PathLike[str]]) -> EvalBin:
    """Read a verification set, without executing anything that it may hold.

    Raises
    ------
    InsightError
        The file is missing, is no pickle of plain data (the global that it names is told), or
        does not hold two images per pair.
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
        value = load_plain(content)
    except BadPickle as error:
        raise InsightError(f"{path}: {error}; want a verification set: (images, issame)") from None
    if type(value) not in (tuple, list) or len(value) != 2:
        raise InsightError(f"{path}: a pickled {type(value).__name__}, want a tuple of two: (images, issame)")
    try:
        images, issame = _images(settled(value[0])), _issame(settled(value[1]))
    except BadPickle as error:
        raise InsightError(f"{path}: {error}") from None
    if len(images) != 2 * len(issame) or not images:
        raise InsightError(
            f"{path}: {len(images)} images for {len(issame)} pairs, want two per pair and one pair at least; "
            f"the file is damaged"
        )
    return EvalBin(images, issame)


def _issame(value) -> np.ndarray:
    if isinstance(value, np.ndarray):
        value = value.reshape(-1).tolist()
    if type(value) not in (list, tuple):
        raise BadPickle(f"issame is a {type(value).__name__}, want a list of booleans")
    values = [settled(item) for item in value]
    odd = [v for v in values if not isinstance(v, (bool, int, float)) or v not in (0, 1)]
    if odd:
        raise BadPickle(f"issame holds a {type(odd[0]).__name__} that is neither 0 nor 1, want booleans")
    return np.array([bool(v) for v in values], np.bool_)


def _images(value) -> list:
    if type(value) not in (list, tuple):
        raise BadPickle(f"images are a {type(value).__name__}, want a list of encoded images")
    images = []
    for i, item in enumerate(map(settled, value)):
        if isinstance(item, np.ndarray):
            if item.dtype != np.uint8 or max(item.shape, default=0) != item.size:
                raise BadPickle(f"image {i} is an array {item.dtype} {item.shape}, want encoded bytes in one dimension")
            item = item.reshape(-1).data
        elif not isinstance(item, (bytes, memoryview)):
            raise BadPickle(f"image {i} is a {type(item).__name__}, want encoded bytes")
        images.append(item)
    return images


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
