"""Checks of payloads, by their headers or by decoding them, and hashes for the search for duplicates.

Definitions for ``deep`` checks:

- An image is **damaged** if it decodes with a warning, for example a JPEG whose scan ends early, has extra bytes or
  has invalid codes, or a PNG with a wrong checksum in a chunk other than its pixel data.
- The **perceptual hash** is computed from the grey image, resized to 32 x 32 pixels by area averaging. Its bits are
  the 8 x 8 lowest frequencies of the DCT, with the mean replaced by the coefficient at (8, 0). A bit is set if its
  coefficient is above their median.
- An image is **blank** if the standard deviation of the 32 x 32 grey image is at most 1 level.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..executor import Cluster, Workforce, in_order
from ..images import decoding
from ..images.header import image_size, is_plain_png, read_jpeg_head, suffix_of
from ..progress import track
from ..sets.payloads import fault
from .payload_access import Payloads

CHUNK = 64  # images per task
CLUSTER_CHUNK = 512  # images per task of a cluster; larger, as each task sends a sum of pixels over the network
_SIDE = 32  # height and width of the grey image that is hashed and compared
_BLANK_DEVIATION = 1.0


class PayloadFacts(NamedTuple):
    """The properties and faults of one payload; ``faults`` are (code, detail)."""

    digest: int  # 64 bits of BLAKE2b of the bytes
    kind: str  # file suffix of the format; "" for an empty payload
    size: Optional[Tuple[int, int]]  # (height, width) in pixels, if known
    faults: Tuple[Tuple[str, str], ...]
    hash: Optional[int] = None  # perceptual hash, if decoded and not blank
    pixels: Optional[np.ndarray] = None  # (H, W, 3) uint8 BGR, if decoded


def exact_digest(payload) -> int:
    """Return 64 bits of the BLAKE2b hash of bytes. Callers must compare the bytes if hashes are equal."""
    return struct.unpack("<Q", hashlib.blake2b(payload, digest_size=8).digest())[0]


def examine_payload(payload, deep: bool) -> PayloadFacts:
    """Examine one payload; images are decoded only if ``deep`` is set."""
    data = bytes(payload)
    digest = exact_digest(data)
    kind = suffix_of(data) if data else ""
    size = image_size(data) if data else None
    unusable = fault(data)
    faults = [unusable] if unusable else list(_sniff(data, kind, size))
    if unusable or not deep or any(code in ("truncated-image", "undecodable-image") for code, _ in faults):
        return PayloadFacts(digest, kind, size, tuple(faults))
    pixels, warning = decoding.decode(data)
    if pixels is None:
        why = warning or "the decoder rejects it"
        faults.append(("undecodable-image", f"{kind[1:]}, {len(data)} bytes: {why}"))
        return PayloadFacts(digest, kind, size, tuple(faults))
    if warning:
        faults.append(("damaged-image", warning))
    thumb = grey_thumb(pixels)
    if thumb.std() <= _BLANK_DEVIATION:
        faults.append(("blank-image", f"grey level {thumb.mean():.0f} all over"))
        return PayloadFacts(digest, kind, pixels.shape[:2], tuple(faults), None, pixels)
    return PayloadFacts(digest, kind, pixels.shape[:2], tuple(faults), perceptual_hash(thumb), pixels)


def _sniff(data: bytes, kind: str, size: Optional[Tuple[int, int]]) -> Iterator[Tuple[str, str]]:
    """Yield the faults that can be detected without decoding."""
    if kind == ".jpg":
        head = read_jpeg_head(data)
        if head is None:
            yield "undecodable-image", "its JPEG markers end before the scan, or are invalid"
        elif not head.complete:
            yield "truncated-image", "a JPEG without its end marker"
        elif head.components == 1:
            yield "grey-jpeg", "one component"
        elif head.components == 4:
            yield "cmyk-jpeg", "four components"
        elif head.orientation != 1:
            yield "rotated-jpeg", f"Exif orientation {head.orientation}"
        elif not head.plain:
            yield "unusual-encoding", f"a JPEG of {head.components} components, not 8-bit Huffman-coded"
    elif kind == ".png":
        if len(data) < 45 or data[-8:-4] != b"IEND":
            yield "truncated-image", "a PNG without its end chunk"
        elif not is_plain_png(data, size):
            yield "unusual-encoding", "a PNG that is not upright 8-bit RGB"
    else:
        yield "unusual-encoding", kind[1:]


def grey_thumb(pixels: np.ndarray) -> np.ndarray:
    """Convert (H, W, 3) uint8 BGR pixels to (32, 32) float32 grey levels, range 0..255."""
    cv2 = decoding.opencv()
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    return cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)


def perceptual_hash(thumb: np.ndarray) -> int:
    """Return the 64-bit DCT hash of a (32, 32) float32 grey image; see the top of this file."""
    cv2 = decoding.opencv()
    frequencies = cv2.dct(thumb)
    low = frequencies[:8, :8].copy()
    low[0, 0] = frequencies[8, 0]
    bits = np.packbits(low.reshape(-1) > np.median(low))
    return int.from_bytes(bits.tobytes(), "big")


@dataclass
class Survey:
    """The results of a pass over all payloads: 17 bytes per image, and a few sums.

    Attributes
    ----------
    digests, hashes : np.ndarray
        (N,) uint64.
    hashed : np.ndarray
        (N,) bool. Whether the image has a perceptual hash.
    kinds, sizes : Counter
        Numbers of images by format and by (height, width).
    mean_sum : np.ndarray or None
        (H, W, 3) float64 BGR. Sum of the ``mean_count`` decoded images of the expected size.
    """

    digests: np.ndarray
    hashes: np.ndarray
    hashed: np.ndarray
    kinds: Counter = field(default_factory=Counter)
    sizes: Counter = field(default_factory=Counter)
    mean_sum: Optional[np.ndarray] = None
    mean_count: int = 0

    @classmethod
    def of(cls, count: int) -> Survey:
        return cls(np.zeros(count, np.uint64), np.zeros(count, np.uint64), np.zeros(count, bool))

    def add(self, i: int, seen: PayloadFacts) -> None:
        self.digests[i] = seen.digest
        if seen.hash is not None:
            self.hashes[i], self.hashed[i] = seen.hash, True
        self.kinds[seen.kind] += 1
        self.sizes[seen.size] += 1

    def mean_face(self) -> Optional[np.ndarray]:
        """Return the mean image, (H, W, 3) uint8 BGR; None if no image of the expected size was decoded."""
        return np.rint(self.mean_sum / self.mean_count).astype(np.uint8) if self.mean_count else None


class ExamineTask:
    """Examines payloads; returns their facts, and sum and number of the decoded images of ``mean_size``."""

    def __init__(self, read: Callable[[int], Any], deep: bool, mean_size: Optional[Tuple[int, int]]):
        self._read = read
        self._deep = deep
        self._mean_size = mean_size

    def __call__(self, places: Sequence[int]) -> Tuple[List[PayloadFacts], Optional[np.ndarray], int]:
        seen, total, used = [], None, 0
        for place in places:
            one = examine_payload(self._read(place), self._deep)
            if one.pixels is not None and one.pixels.shape[:2] == self._mean_size:
                total = one.pixels.astype(np.uint32) if total is None else np.add(total, one.pixels, out=total)
                used += 1
            seen.append(one._replace(pixels=None))
        return seen, total, used


def survey(
    payloads: Payloads,
    deep: bool,
    workers: Workforce,
    what: str,
    report: Callable[[int, PayloadFacts], None],
    mean_size: Optional[Tuple[int, int]] = None,
) -> Survey:
    """Examine payloads in threads or on a cluster, and call ``report(i, facts)`` for each in order, without pixels.

    At most 4 tasks per worker run ahead of the reports. A task has 64 images, or 512 on a cluster.
    """
    result = Survey.of(payloads.count)

    def looks() -> Iterator[Tuple[int, PayloadFacts]]:
        begin = 0
        for seen, total, used in _examined(payloads, deep, workers, mean_size):
            if used:
                result.mean_sum = total + (0.0 if result.mean_sum is None else result.mean_sum)
                result.mean_count += used
            yield from enumerate(seen, begin)
            begin += len(seen)

    for i, seen in track(looks(), what, payloads.count, "images"):
        result.add(i, seen)
        report(i, seen)
    return result


def _examined(
    payloads: Payloads, deep: bool, workers: Workforce, mean_size: Optional[Tuple[int, int]]
) -> Iterator[tuple]:
    """Yield the results of :class:`ExamineTask` for all payloads, in order."""
    step, read, places = CHUNK, payloads.read, range
    if isinstance(workers, Cluster):
        step, read, places = CLUSTER_CHUNK, payloads.read_at, payloads.places
    tasks = (places(begin, min(begin + step, payloads.count)) for begin in range(0, payloads.count, step))
    return in_order(ExamineTask(read, deep, mean_size), tasks, workers, paths=payloads.paths)


def as_counts(counter: Counter, name: Callable[[Any], str]) -> Dict[str, int]:
    """Convert a counter to a dict for the report, with the most frequent items first."""
    return {name(item): count for item, count in counter.most_common()}
