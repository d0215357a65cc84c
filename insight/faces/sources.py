"""Sources of face images: identity folders, a .rec, a verification .bin.

The kind of a source is recognised by its content, not its suffix. All commands that embed faces read
their images through this module.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from typing import Callable, Iterator, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import InsightError, printable
from ..files import reading as files
from ..formats import evalbin, faceset, remedies, shards
from ..formats.keyruns import KeyRuns
from ..images.damage import Damage
from ..images.pixels import decode_rgb
from ..progress import track, warn
from . import folders

UNKNOWN = -1  # the label of an image without a known identity


class ImageItem(NamedTuple):
    """An encoded image: its key and label in the source, and its bytes."""

    key: str
    label: int
    data: bytes


class KeyNames(Sequence[str]):
    """Keys of records as strings, created on demand, since a set may have millions."""

    def __init__(self, keys: KeyRuns):
        self._keys = keys

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, i: int) -> str:
        return str(self._keys[i])

    def __iter__(self) -> Iterator[str]:
        return map(str, self._keys)

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield all names in order, as arrays of strings of one dtype."""
        digits = len(str(self._keys[-1])) if len(self) else 1  # keys ascend, so the last is the longest
        for keys in self._keys.blocks():
            yield keys.astype(f"U{digits}")

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.concatenate([np.empty(0, dtype or "U1"), *self.blocks()])


class ImageSource:
    """Encoded face images by position. Make one with :func:`image_source`.

    Attributes
    ----------
    path : str
    files : sequence of str
        The files that hold all images; the folder, if each image is a file.
    keys : sequence of str
        (N,): path under the folder, key of the record, or position in the .bin.
    labels : numpy.ndarray
        (N,) integers: position of the identity's folder among the sorted ones, label of the record, or -1.
    notes : sequence of str
        Lines about skipped files of a folder; a command that opens a source prints them.
    damage : Damage
        Images that have decoded with a warning so far.
    fingerprint : callable
        Returns :meth:`insight.formats.faceset.FaceSet.fingerprint` of a record set, None for other sources.
    """

    REMEDY = "remove it or replace it"  # for a file that is not an image

    def __init__(
        self,
        path: str,
        keys: Sequence[str],
        labels: np.ndarray,
        read: Callable[[int], bytes],
        what: str,
        scaling: Sequence[str] = (),
        notes: Sequence[str] = (),
        fingerprint: Callable[[], Optional[str]] = lambda: None,
        files: Sequence[str] = (),
    ):
        self.path = path
        self.files = files or [path]
        self.fingerprint = fingerprint
        self.keys = keys
        self.labels = labels
        self.notes = notes
        self.damage = Damage()
        self._warned = 0
        self._read = read
        self._what = what
        self._scaling = scaling  # commands that convert it to another size, the last with --image-size

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[ImageItem]:
        for i in range(len(self)):
            yield ImageItem(self.keys[i], int(self.labels[i]), self.read(i))

    def read(self, i: int) -> bytes:
        """The encoded bytes of the i-th image; safe to call from several threads."""
        return self._read(i)

    def name(self, i: int) -> str:
        """The name of the i-th image in messages: ``lfw.bin: image 17``."""
        name = f"{self.path}: {self._what} {self.keys[i]}" if self._what else os.path.join(self.path, self.keys[i])
        return printable(name)

    def short_name(self, i: int) -> str:
        """The name of the i-th image within its source: ``Ann/Ann_0001.jpg``, ``image 17``."""
        return printable(f"{self._what} {self.keys[i]}".lstrip())

    def pixels(self, i: int, size: Tuple[int, int]) -> np.ndarray:
        """The i-th image, decoded: uint8 (3, H, W), RGB, 0..255.

        Raises
        ------
        InsightError
            It cannot be decoded, or its (height, width) is not ``size``.
        """
        try:
            image = decode_rgb(self.read(i), self.name(i), lambda warning: self.damage.add(i, warning))
        except InsightError as error:
            raise self._without_it(error) from None
        if image.shape[:2] != tuple(size):
            raise InsightError(
                f"{self.name(i)}: is {image.shape[0]}x{image.shape[1]} (height x width), the network takes "
                f"{size[0]}x{size[1]}; give aligned faces of that size{self._or_scale(size)}"
            )
        return image.transpose(2, 0, 1)

    def to_scale(self, size: Tuple[int, int]) -> str:
        """The commands that convert the source to ``size`` (height, width), as text; empty if there are none."""
        commands = [f"insight {command}" for command in self._scaling]
        return f"to scale them: {', then '.join(commands)} --image-size {size[0]},{size[1]}" if commands else ""

    def _or_scale(self, size: Tuple[int, int]) -> str:
        remedy = self.to_scale(size)
        return f"; {remedy}" if remedy else ""

    def _without_it(self, error: InsightError) -> InsightError:
        """The error of an image; in a record set, with the command that skips the image."""
        if self._what != "record":
            return error
        remedy = f"`{remedies.into_new(self.path)} --deep` skips images that cannot be decoded"
        return InsightError(f"{str(error).partition('; ')[0]}; {remedy}")

    def part(self, begin: int, end: int) -> ImageSource:
        """A source of the images ``begin`` to ``end`` - 1 only."""
        return ImageSource(
            self.path,
            [self.keys[i] for i in range(begin, end)],
            np.array([self.labels[i] for i in range(begin, end)], np.int64),
            lambda i: self.read(begin + i),
            self._what,
            self._scaling,
        )

    def warn_of_damage(self) -> None:
        """Print a warning that names damaged images, unless all of them were already reported."""
        if len(self.damage) > self._warned:
            self._warned = len(self.damage)
            warn(self.damage.line(self.path, len(self), self.short_name))

    def digest(self) -> str:
        """SHA-256 (hex) of keys, labels, and size and modification time of the files, to recognise a changed source."""
        state = hashlib.sha256()
        in_files = not self._what
        for key, label in zip(self.keys, map(int, self.labels)):
            stat = _status(os.path.join(self.path, key)) if in_files else None
            state.update(repr((key, label, stat and (stat.st_size, stat.st_mtime_ns))).encode())
        for file in self.files if not in_files else ():
            stat = _status(file)
            state.update(repr((stat.st_size, stat.st_mtime_ns)).encode())
        return state.hexdigest()

    def check(self) -> None:
        """Check the first bytes of every image file, before hours of embedding.

        Raises
        ------
        InsightError
            Some files are not images; the first few are named.
        """
        paths = [] if self._what else [os.path.join(self.path, key) for key in self.keys]
        unusable = []
        for path in track(paths, "checking files", unit="files"):
            reason = folders.why_no_image(path)
            if reason:
                unusable.append((printable(path), reason))
        if unusable:
            others = ", ".join(name for name, _ in unusable[1 : folders.NAMED])
            others = f"; {len(unusable) - 1} others cannot be used either: {others}" if others else ""
            others += ", …" if len(unusable) > folders.NAMED else ""
            raise InsightError(f"{unusable[0][0]}: {unusable[0][1]}; {self.REMEDY}{others}")

    def spread(self, count: int, size: Tuple[int, int]) -> np.ndarray:
        """Decode up to ``count`` images, spread evenly over the source: uint8 (N, 3, H, W), RGB, 0..255."""
        chosen = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int))
        images = np.stack([self.pixels(i, size) for i in chosen.tolist()])
        self.warn_of_damage()
        return images


def image_source(path) -> ImageSource:
    """Open an identity folder tree, a .rec file or a verification .bin.

    Raises
    ------
    InsightError
        The path is none of these, or has no image.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        return _folder(path)
    reason = files.why_unreadable(path)
    if reason:
        reason = "no such file or folder" if reason == "no such file" else reason
        raise InsightError(f"{path}: {reason}; want identity folders, a .rec or a verification .bin")
    kind, start = evalbin.kind_by_content(path)
    if kind == evalbin.REC or shards.parse(path):
        return _records(path)
    if kind == evalbin.BIN:
        images = evalbin.read_bin(path).images
        keys = [str(i) for i in range(len(images))]
        labels = np.full(len(images), UNKNOWN, np.int64)
        return ImageSource(path, keys, labels, images.__getitem__, "image", scaling_of_bin(path))
    raise InsightError(f"{path}: neither a .rec nor a verification .bin (it starts with {start!r})")


def _status(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        raise InsightError(
            f"{printable(path)}: {error.strerror}; it existed when the input was listed; run again"
        ) from None


def _records(path: str) -> ImageSource:
    records = faceset.FaceSet.open(path)
    scaling = (f"rec2image {shlex.quote(path)} DIR", "dir2lst DIR F.lst", "face2rec F.lst")
    files = records.records.rec_paths
    return ImageSource(
        *(path, KeyNames(records.images), records.labels, records.payload, "record", scaling),
        fingerprint=records.fingerprint,
        files=files,
    )


def scaling_of_bin(path) -> Tuple[str, ...]:
    """Commands that convert a verification .bin to another size; see :class:`ImageSource`."""
    return (f"rec2image {shlex.quote(os.fspath(path))} DIR", "make-bin DIR/pairs.csv NEW.bin")


def _folder(path: str) -> ImageSource:
    """One folder per identity, images directly in it, both sorted by name."""
    read = folders.read_identities(path)
    keys = [f"{identity.name}/{file}" for identity in read.identities for file in identity.files]
    labels = np.repeat(np.arange(len(read.identities)), [len(identity.files) for identity in read.identities])
    return of_files(path, keys, labels.astype(np.int64), read.lines())


def of_files(path: str, keys: Sequence[str], labels: np.ndarray, notes: Sequence[str] = ()) -> ImageSource:
    """A source of image files under a folder, which is not listed; ``keys`` are paths relative to it."""
    scaling = (f"dir2lst {shlex.quote(path)} F.lst", "face2rec F.lst")
    return ImageSource(path, keys, labels, file_reader(path, keys), "", scaling, notes)


def file_reader(root, names: Sequence[str]) -> Callable[[int], bytes]:
    """Return a function that reads the i-th of some files under a folder.

    Raises
    ------
    InsightError
        When called: the file is missing, cannot be read or is empty.
    """

    def read(i: int) -> bytes:
        path = os.path.join(root, names[i])
        try:
            return files.read_file(path)
        except files.Unreadable as error:
            raise InsightError(f"{printable(path)}: {error}; remove it or replace it, then run again") from None

    return read
