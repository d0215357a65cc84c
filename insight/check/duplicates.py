"""Detection of images that occur twice in a set, or also in an excluded set.

Exact duplicates are found by a hash of the payload and confirmed byte by byte. Near duplicates are found by the
perceptual hash of ``image_faults``. They are confirmed by comparing 32 x 32 grey images, because the low frequencies
of all aligned faces are similar. Two 64-bit hashes that differ in at most 3 bits are equal in at least one of four
16-bit bands. Each band is therefore sorted, and only images with the same band value are compared, in blocks. This
finds all pairs within the bound with 16 bytes of memory per image.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from ..executor import Workforce
from ..formats.evalbin import is_bin, read_bin
from ..formats.faceset import FaceSet
from ..progress import track
from .image_faults import Survey, grey_thumb, survey
from .layout import Layout
from .payload_access import Payloads, ReadImage
from .rules import NEAR_BITS, NEAR_RMS, Findings

_BANDS, _BAND_BITS = 4, 16  # NEAR_BITS + 1 bands, so that at least one of them is equal
_BLOCK = 1024
_CACHED = 4096  # grey images in the cache, 4 KiB each


class ExcludedSet(NamedTuple):
    """A set that must share no image with the checked set."""

    name: str
    names: Callable[[int], str]  # readable name of the image at a position
    payloads: Payloads


def open_excluded(path: str) -> ExcludedSet:
    """Open a verification .bin or a record set. Raises InsightError if the path is neither."""
    base = os.path.basename(os.path.normpath(path))
    if is_bin(path):
        images = read_bin(path).images
        payloads = Payloads(len(images), images.__getitem__, ReadImage(path), range, [path])
        return ExcludedSet(base, lambda i: f"{base} image {i}", payloads)
    faces = FaceSet.open(path)
    payloads = Payloads(len(faces), faces.payload, ReadImage(faces.rec_path), range, faces.records.rec_paths)
    return ExcludedSet(base, lambda i: f"{base} key {faces.images[i]}", payloads)


def find_exact(layout: Layout, seen: Survey, findings: Findings) -> np.ndarray:
    """Report images whose bytes equal those of an earlier image; return a mask of them, (N,) bool."""
    repeated = np.zeros(len(layout.rows), bool)
    order = np.argsort(seen.digests, kind="stable")
    equal = np.flatnonzero(seen.digests[order][1:] == seen.digests[order][:-1])
    anchor = -1
    for at in equal.tolist():
        if anchor < 0 or seen.digests[anchor] != seen.digests[order[at]]:
            anchor = int(order[at])
        i = int(order[at + 1])
        payload = layout.payload(i)
        if not len(payload) or payload != layout.payload(anchor):
            continue
        repeated[i] = True
        code = "duplicate-image" if layout.labels[i] == layout.labels[anchor] else "duplicate-across"
        detail = f"label {layout.labels[i]}: the bytes of key {layout.keys[anchor]}, label {layout.labels[anchor]}"
        findings.add(code, int(layout.keys[i]), detail, payload, layout.payload(anchor))
    return repeated


def find_near(layout: Layout, seen: Survey, repeated: np.ndarray, findings: Findings) -> None:
    """Report images that show the same picture as an earlier one, in another encoding or slightly changed."""
    rows = np.flatnonzero(seen.hashed & ~repeated)
    thumbs = _Thumbs(layout.payload)
    marked = set()
    pairs = near_pairs(seen.hashes[rows])
    for a, b in track(pairs, "comparing near duplicates", unit="pairs"):
        first, i = sorted((int(rows[a]), int(rows[b])))
        if i in marked or not thumbs.alike(first, thumbs, i):
            continue
        marked.add(i)
        code = "near-duplicate" if layout.labels[i] == layout.labels[first] else "near-duplicate-across"
        detail = f"label {layout.labels[i]}: the picture of key {layout.keys[first]}, label {layout.labels[first]}"
        findings.add(code, int(layout.keys[i]), detail, layout.payload(i), layout.payload(first))


def find_overlap(
    layout: Layout, seen: Survey, excluded: ExcludedSet, deep: bool, workers: Workforce, findings: Findings
) -> None:
    """Report images that are also in an excluded set; near duplicates only if ``deep`` is set."""
    images = excluded.payloads
    theirs = survey(images, deep, workers, f"reading {excluded.name}", lambda i, one: None)
    order = np.argsort(theirs.digests, kind="stable")
    place = np.minimum(np.searchsorted(theirs.digests[order], seen.digests), images.count - 1)
    marked = set()

    def report(code: str, i: int, j: int) -> None:
        marked.add(i)
        detail = f"label {layout.labels[i]}: {excluded.names(j)}"
        findings.add(code, int(layout.keys[i]), detail, layout.payload(i), images.read(j))

    for i in np.flatnonzero(theirs.digests[order][place] == seen.digests).tolist():
        j = int(order[place[i]])
        if bytes(layout.payload(i)) == bytes(images.read(j)) != b"":
            report("test-overlap", i, j)
    if not deep:
        return
    ours, others = np.flatnonzero(seen.hashed), np.flatnonzero(theirs.hashed)
    thumbs, their_thumbs = _Thumbs(layout.payload), _Thumbs(images.read)
    pairs = near_pairs(seen.hashes[ours], theirs.hashes[others])
    for a, b in track(pairs, f"comparing with {excluded.name}", unit="pairs"):
        i, j = int(ours[a]), int(others[b])
        if i not in marked and thumbs.alike(i, their_thumbs, j):
            report("test-near-overlap", i, j)


def near_pairs(left: np.ndarray, right: Optional[np.ndarray] = None) -> Iterator[Tuple[int, int]]:
    """Yield the pairs of 64-bit hashes that differ in at most 3 bits, each pair once.

    Parameters
    ----------
    left, right : np.ndarray
        (N,) and (M,) uint64. Without ``right``, the pairs i < j within ``left`` are yielded.

    Yields
    ------
    i, j : int
        Positions in ``left`` and in ``right``.
    """
    within = right is None
    right = left if right is None else right
    for band in range(_BANDS):
        left_rows, left_edges, left_values = _groups(left, band)
        right_rows, right_edges, right_values = _groups(right, band)
        _, in_left, in_right = np.intersect1d(left_values, right_values, assume_unique=True, return_indices=True)
        for a, b in zip(in_left.tolist(), in_right.tolist()):
            ours = left_rows[left_edges[a] : left_edges[a + 1]]
            theirs = right_rows[right_edges[b] : right_edges[b + 1]]
            if not within or len(ours) > 1:
                yield from _compare(left, ours, right, theirs, band, within)


def _groups(hashes: np.ndarray, band: int) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows sorted by a band's value, the bounds of each value's rows, and the distinct values."""
    values = (hashes >> np.uint64(_BAND_BITS * band)).astype(np.uint16)
    rows = np.argsort(values, kind="stable")
    distinct, begins = np.unique(values[rows], return_index=True)
    return rows, np.append(begins, len(rows)), distinct


def _compare(left, ours, right, theirs, band: int, within: bool) -> Iterator[Tuple[int, int]]:
    lower = [np.uint64(0xFFFF << _BAND_BITS * earlier) for earlier in range(band)]
    for a in range(0, len(ours), _BLOCK):
        for b in range(a if within else 0, len(theirs), _BLOCK):
            these, those = ours[a : a + _BLOCK], theirs[b : b + _BLOCK]
            differ = left[these][:, None] ^ right[those][None, :]
            near = popcount(differ) <= NEAR_BITS
            for mask in lower:  # skip pairs that were already yielded because an earlier band is equal
                near &= (differ & mask) != 0
            if within:
                near &= these[:, None] < those[None, :]
            for i, j in np.argwhere(near).tolist():
                yield int(these[i]), int(those[j])


def popcount(words: np.ndarray) -> np.ndarray:
    """Return the number of set bits of each uint64; NumPy 1 has no such function."""
    ones, twos, fours = (np.uint64(mask) for mask in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F))
    words = words - ((words >> np.uint64(1)) & ones)
    words = (words & twos) + ((words >> np.uint64(2)) & twos)
    words = (words + (words >> np.uint64(4))) & fours
    return (words * np.uint64(0x0101010101010101)) >> np.uint64(56)


class _Thumbs:
    """Grey images of 32 x 32 pixels, decoded on request. The most recently used ones are cached."""

    def __init__(self, payload: Callable[[int], Any]):
        self._payload = payload
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()

    def of(self, i: int) -> np.ndarray:
        from ..images.pixels import decode_bgr

        if i not in self._kept:
            self._kept[i] = grey_thumb(decode_bgr(self._payload(i), f"image {i}"))
            if len(self._kept) > _CACHED:
                self._kept.popitem(last=False)
        self._kept.move_to_end(i)
        return self._kept[i]

    def alike(self, i: int, others: _Thumbs, j: int) -> bool:
        return float(np.sqrt(np.mean((self.of(i) - others.of(j)) ** 2))) <= NEAR_RMS


def open_all_excluded(paths: List[str]) -> List[ExcludedSet]:
    """Open all excluded sets before the check begins, so that a wrong path raises at once."""
    return [open_excluded(path) for path in paths]
