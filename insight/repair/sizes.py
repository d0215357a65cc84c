"""Sizes and faults of the images of a damaged set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, Optional, Tuple

import numpy as np

from ..check.image_faults import PayloadFacts, survey
from ..check.layout import Layout
from ..check.rules import ERROR, RULES
from ..errors import InsightError
from ..images.header import image_size
from ..images.pixels import decode_bgr
from ..progress import track

Size = Tuple[int, int]


@dataclass
class Pictures:
    """Sizes and faults of N images.

    Attributes
    ----------
    sizes : np.ndarray
        (N,) int64. Height and width as one number, see :func:`_packed`; 0 if unknown.
    faults : dict of int to str
        Reason for which an image cannot be used for training, by position.
    """

    sizes: np.ndarray
    faults: Dict[int, str] = field(default_factory=dict)

    def commonest(self) -> Optional[Size]:
        """Return the most frequent (height, width) of sound images, the largest of several; None if none is known."""
        sizes, counts = self._counted()
        return _unpacked(sizes[len(counts) - 1 - np.argmax(counts[::-1])]) if len(sizes) else None

    def size_of(self, i: int) -> Size:
        """Return (height, width) of an image; (0, 0) if unknown."""
        return _unpacked(self.sizes[i])

    def known(self) -> int:
        """Return the number of images with a known size."""
        return int(np.count_nonzero(self.sizes))

    def others(self, size: Size) -> np.ndarray:
        """Return the positions of the sound images of other sizes."""
        return np.flatnonzero((self.sizes > 0) & (self.sizes != _packed(size)))

    def listed(self) -> str:
        """Return a text such as ``900 of 112x112, 3 of 96x112``, with the most frequent size first."""
        sizes, counts = self._counted()
        order = np.argsort(-counts, kind="stable")[:6]
        return ", ".join(f"{counts[i]} of {by(_unpacked(sizes[i]))}" for i in order)

    def _counted(self) -> Tuple[np.ndarray, np.ndarray]:
        return np.unique(self.sizes[self.sizes > 0], return_counts=True)


def _packed(size: Size) -> int:
    return size[0] << 32 | size[1]


def _unpacked(number: int) -> Size:
    return int(number) >> 32, int(number) & 0xFFFFFFFF


def by(size: Size) -> str:
    """Return a size as text, height x width: ``112x96``."""
    return f"{size[0]}x{size[1]}"


def look_at(layout: Layout, deep: bool, workers: int) -> Pictures:
    """Examine every image as dataset-check does. Its findings of severity ``error`` are faults."""
    seen = Pictures(np.zeros(len(layout.rows), np.int64))

    def report(i: int, one: PayloadFacts) -> None:
        faults = [f"{code}: {what}" for code, what in one.faults if RULES[code].severity == ERROR]
        size = None if faults else one.size or _decoded_size(layout.payload(i))
        if size is not None:
            seen.sizes[i] = _packed(size)
        else:
            seen.faults[i] = faults[0] if faults else "undecodable-image: the decoder refuses it"

    survey(layout.payloads(), deep, workers, "looking at images", report)
    return seen


def measure(layout: Layout) -> Pictures:
    """Read the size of every image from its header, or decode the image if the header does not state it."""
    seen = Pictures(np.zeros(len(layout.rows), np.int64))
    for i in track(range(len(layout.rows)), "measuring", unit="images"):
        payload = layout.payload(i)
        size = image_size(bytes(payload)) or _decoded_size(payload)
        if size is not None:
            seen.sizes[i] = _packed(size)
    return seen


def _decoded_size(payload) -> Optional[Size]:
    """Decode an image and return its (height, width); None if it does not decode."""
    try:
        return decode_bgr(payload, "").shape[:2]
    except InsightError:
        return None
