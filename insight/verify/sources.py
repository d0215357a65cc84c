"""Face images from wherever they are kept: identity folders, a .rec, a verification .bin.

Which of the three a path is, its content says, not its suffix. Everything that embeds faces
(embed, parity of an export) reads them here.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import shlex
from pathlib import Path
from typing import Callable, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from ..errors import InsightError
from ..formats import evalbin, faceset, framing, remedies
from ..image import decode_rgb

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
    """

    def __init__(
        self,
        path: str,
        keys: Sequence[str],
        labels: np.ndarray,
        read: Callable[[int], bytes],
        what: str,
        scaling: Sequence[str] = (),
    ):
        self.path = path
        self.keys = keys
        self.labels = labels
        self._read = read
        self._what = what
        self._scaling = scaling  # commands that pack it anew in another size, the last with --image-size

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
        try:
            image = decode_rgb(self.read(i), self.name(i))
        except InsightError as error:
            raise self._without_it(error) from None
        if image.shape[:2] != tuple(size):
            raise InsightError(
                f"{self.name(i)}: is {image.shape[0]}x{image.shape[1]} (height x width), the network takes "
                f"{size[0]}x{size[1]}; give aligned faces of that size{self._or_scale(size)}"
            )
        return image.transpose(2, 0, 1)

    def to_scale(self, size: Tuple[int, int]) -> str:
        """What to do for images of that (height, width); empty where no command does it."""
        commands = [f"insight {command}" for command in self._scaling]
        return f"to scale them: {', then '.join(commands)} --image-size {size[0]},{size[1]}" if commands else ""

    def _or_scale(self, size: Tuple[int, int]) -> str:
        remedy = self.to_scale(size)
        return f"; {remedy}" if remedy else ""

    def _without_it(self, error: InsightError) -> InsightError:
        """The error of an image of a set, which can be left out."""
        if self._what != "record":
            return error
        remedy = f"`{remedies.into_new(self.path)} --deep` leaves out what cannot be decoded"
        return InsightError(f"{str(error).partition('; ')[0]}; {remedy}")

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
        return np.stack([self.pixels(i, size) for i in chosen.tolist()])


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
        labels = np.full(len(images), UNKNOWN, np.int64)
        return ImageSource(path, keys, labels, images.__getitem__, "image", scaling_of_bin(path))
    raise InsightError(f"{path}: neither a .rec nor a verification .bin (it starts with {start!r})")


def _records(path: str) -> ImageSource:
    records = faceset.FaceSet.open(path)
    keys = [str(key) for key in records.images.tolist()]
    scaling = (f"rec2image {shlex.quote(path)} DIR", "dir2lst DIR F.lst", "face2rec F.lst")
    return ImageSource(path, keys, np.asarray(records.labels, np.int64), records.payload, "record", scaling)


def scaling_of_bin(path) -> Tuple[str, ...]:
    """Commands that pack a verification .bin anew; see :class:`ImageSource`."""
    return (f"rec2image {shlex.quote(os.fspath(path))} DIR", "make-bin DIR/pairs.csv NEW.bin")


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
    scaling = (f"dir2lst {shlex.quote(path)} F.lst", "face2rec F.lst")
    return ImageSource(path, keys, np.array(labels, np.int64), lambda i: Path(path, keys[i]).read_bytes(), "", scaling)


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")
