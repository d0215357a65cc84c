"""Face images from wherever they are kept: identity folders, a .rec, a verification .bin.

Which of the three a path is, its content says, not its suffix. Everything that embeds faces
(embed, parity of an export) reads them here.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path
from typing import Callable, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from ..damage import Damage
from ..errors import InsightError
from ..formats import evalbin, faceset, framing
from ..image import decode_rgb
from ..progress import warn

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff")
UNKNOWN = -1  # the label of an image whose identity the source does not tell
_PICKLES = (pickle.PROTO, b"(", b"]")  # how a pickle of a tuple or list begins, protocol 2 up and 0


class ImageItem(NamedTuple):
    """One encoded image: its key and its label in the source, and its bytes."""

    key: str
    label: int
    data: bytes


class ImageSource:
    """Encoded face images by position. Make one with :func:`image_source`.

    Attributes
    ----------
    path : str
    keys : sequence of str
        (N,): path under the folder, key of the record, or position in the .bin.
    labels : numpy.ndarray
        (N,) int64; position of the identity's folder among the sorted ones, label of the record, or -1.
    damage : Damage
        Images that decoded with a warning so far.
    """

    def __init__(self, path: str, keys: Sequence[str], labels: np.ndarray, read: Callable[[int], bytes], what: str):
        self.path = path
        self.keys = keys
        self.labels = labels
        self.damage = Damage()
        self._warned = 0
        self._read = read
        self._what = what

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[ImageItem]:
        for i in range(len(self)):
            yield ImageItem(self.keys[i], int(self.labels[i]), self.read(i))

    def read(self, i: int) -> bytes:
        """The encoded bytes of the i-th image; safe to call from several threads."""
        return self._read(i)

    def name(self, i: int) -> str:
        """The i-th image in messages: ``lfw.bin: image 17``."""
        return os.path.join(self.path, self.keys[i]) if not self._what else f"{self.path}: {self._what} {self.keys[i]}"

    def short_name(self, i: int) -> str:
        """The i-th image within its source: ``Ann/Ann_0001.jpg``, ``image 17``."""
        return f"{self._what} {self.keys[i]}".lstrip()

    def pixels(self, i: int, size: Tuple[int, int]) -> np.ndarray:
        """The i-th image, decoded: uint8 (3, H, W), RGB.

        Raises
        ------
        InsightError
            It cannot be decoded, or is not of that (height, width).
        """
        image = decode_rgb(self.read(i), self.name(i), lambda warning: self.damage.add(i, warning))
        if image.shape[:2] != tuple(size):
            raise InsightError(
                f"{self.name(i)}: is {image.shape[0]}x{image.shape[1]} (height x width), the network takes "
                f"{size[0]}x{size[1]}; give aligned faces of that size, as align-faces writes them"
            )
        return image.transpose(2, 0, 1)

    def warn_of_damage(self) -> None:
        """Print a warning that names damaged images, unless it was printed for all of them already."""
        if len(self.damage) > self._warned:
            self._warned = len(self.damage)
            warn(self.damage.line(self.path, len(self), self.short_name))

    def digest(self) -> str:
        """What tells this source from another or a later one: keys, labels, and size and time of each file."""
        state = hashlib.sha256()
        in_files = not self._what
        for key, label in zip(self.keys, self.labels.tolist()):
            stat = os.stat(os.path.join(self.path, key)) if in_files else None
            state.update(repr((key, label, stat and (stat.st_size, stat.st_mtime_ns))).encode())
        if not in_files:
            stat = os.stat(self.path)
            state.update(repr((stat.st_size, stat.st_mtime_ns)).encode())
        return state.hexdigest()

    def spread(self, count: int, size: Tuple[int, int]) -> np.ndarray:
        """Up to ``count`` images from all over the source, decoded: uint8 (N, 3, H, W), RGB."""
        chosen = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int))
        images = np.stack([self.pixels(i, size) for i in chosen.tolist()])
        self.warn_of_damage()
        return images


def image_source(path) -> ImageSource:
    """Open an identity folder tree, a .rec file or a verification .bin.

    Raises
    ------
    InsightError
        The path is none of them, or holds no image.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        return _folder(path)
    if not os.path.isfile(path):
        raise InsightError(f"{path}: no such file or folder; want identity folders, a .rec or a verification .bin")
    with open(path, "rb") as opened:
        start = opened.read(4)
    if start == framing.MAGIC_BYTES:
        return _records(path)
    if start[:1] in _PICKLES:
        images = evalbin.read_bin(path).images
        keys = [str(i) for i in range(len(images))]
        return ImageSource(path, keys, np.full(len(images), UNKNOWN, np.int64), images.__getitem__, "image")
    raise InsightError(f"{path}: neither a .rec nor a verification .bin (it starts with {start!r})")


def _records(path: str) -> ImageSource:
    records = faceset.FaceSet.open(path)
    keys = [str(key) for key in records.images.tolist()]
    return ImageSource(path, keys, np.asarray(records.labels, np.int64), records.payload, "record")


def _folder(path: str) -> ImageSource:
    """One folder per identity, images directly in it, both sorted by name; hidden ones are no identities."""
    keys: List[str] = []
    labels: List[int] = []
    identities = 0
    for folder in sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and entry.name[0] != "."):
        names = sorted(name for name in os.listdir(os.path.join(path, folder)) if _is_image(name))
        keys += [f"{folder}/{name}" for name in names]
        labels += [identities] * len(names)
        identities += bool(names)
    if not keys:
        raise InsightError(f"{path}: holds no folder with images in it; want a folder per identity")
    return ImageSource(path, keys, np.array(labels, np.int64), lambda i: Path(path, keys[i]).read_bytes(), "")


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")
