"""A record set as a data set of face images with keys, labels and a size.

Two layouts exist. **Indexed** (face2rec2, dataset_merge, RecBuilder): images are keys 1..N, an
empty record per identity holds its range of keys, and key 0 holds the range of these identity
records. **Plain** (im2rec, SeqRecBuilder): every key is an image. Both are read.

A set may be cut into shards, several .rec files (see ``shards``), which are opened as one.

Labels of an indexed set are read from its identity records, which are contiguous, and from the first and last image of
each identity, so a set of millions opens without reading all images. Ranges are float32 in the file, rounded above
16,777,216. Sets of this package also store the exact first key of each range, as they do for labels (see ``framing``);
in sets of other tools, the exact ranges are recovered from the images' labels.
"""

from __future__ import annotations

import hashlib
import os
from typing import Iterator, List, Tuple, Union

import numpy as np

from ..errors import InsightError
from ..files import commit
from ..images.header import image_size
from . import identities, property, remedies, shards
from .framing import LARGEST_LABEL
from .keyruns import KeyRuns
from .recordio import RecordFile

DEFAULT_NAME = "train.rec"
_BLOCK_ROWS = 1 << 18  # rows that are processed at a time
_KILLED = "the command that wrote it was killed before it had finished; run it again"
Keys = Union[KeyRuns, np.ndarray]


class FaceSet:
    """A set of face images in records. Make one with :meth:`open`.

    Attributes
    ----------
    rec_path : str
        Path of the .rec, or of the first shard if there are several.
    records : RecordFile
    images : KeyRuns
        (N,) int64: keys of the images, ascending.
    labels : np.ndarray
        (N,) int32: identity of each image (the first of a vector label).
    identities : np.ndarray
        (K, 2) int64 rows ``a, b``: ``images[a:b]`` are consecutive images of one identity. A label
        that occurs in several runs has several rows.
    num_classes : int
        From ``property``, else the largest label + 1. Labels are not checked against it.
    image_size : (int, int)
        (height, width) in pixels, from ``property``, else from the first image.
    indexed : bool
        Whether the set has a header record and identity records.
    notes : list of str
        Messages about values that were derived, for commands to print.
    """

    def __init__(self, records: RecordFile):
        self.records = records
        self.rec_path = records.rec_path
        self.notes: List[str] = []
        if records.idx_path is None:
            self.notes.append(
                f"{self.rec_path}: has no .idx beside it; its {len(records)} records were found by reading it "
                f"(`{remedies.in_place(self.rec_path)}` writes one)"
            )
        header = self._header()
        self.indexed = header is not None
        if header is not None:
            self._open_indexed(*header)
        else:
            self._open_plain()
        if not len(self.images):
            raise InsightError(f"{self.rec_path}: holds no image; pack images with face2rec")
        self._read_property()
        records.release_pages()  # of headers: memory predictions start from the process's resident memory

    @classmethod
    def open(cls, path: str) -> FaceSet:
        """Open a set by its folder, its .rec file, or its path without suffix.

        Raises
        ------
        InsightError
            There is no such set, a folder holds several and none is ``train.rec``, a writer was
            killed before it finished the set, or the files are damaged.
        """
        rec_path = find_rec(path)
        records = RecordFile(rec_path)
        try:
            return cls(records)
        except BaseException:
            records.close()
            raise

    def _header(self):
        """(first identity key, last + 1) from key 0, or None in a plain set."""
        if 0 not in self.records:
            return None
        record = self.records.read(0)
        if record.flag != 2 or len(record.payload):
            return None
        begin, end = record.label.tolist()
        if not identities.is_header_range(begin, end):
            raise InsightError(
                f"{self.rec_path}: header record (key 0) says that identities have keys {begin:g} to {end:g}, want "
                f"1 < begin <= end; {self._rewritten()}"
            )
        return int(begin), int(end)

    def _open_indexed(self, begin: int, end: int) -> None:
        keys = self.records.keys.ascending()
        if begin >= identities.EXACT_FLOAT32 or end >= identities.EXACT_FLOAT32:
            begin, end = self._exact_header(keys, begin)
        self.images = keys.between(1, begin)
        id_keys = keys.between(begin, end)
        if len(self.images) != begin - 1 and len(self.records.rec_paths) > 1:
            raise InsightError(
                f"{self.records.index_name}: {len(self.images)} images, the header record (key 0) says {begin - 1}; a "
                f"shard is of another set, or its .idx was cut: copy all files again; {self._rewritten()}"
            )
        if len(id_keys) != end - begin:
            raise InsightError(
                f"{self.records.index_name}: {len(id_keys)} identity records, the header record (key 0) says "
                f"{end - begin}; the .idx was cut or belongs to another .rec; {self._rewritten()}"
            )
        ranges = identities.read_ranges(self.records, id_keys)
        if ranges is not None and begin > identities.EXACT_FLOAT32:
            contiguous = np.stack([ranges[:, 0], np.append(ranges[1:, 0], begin)], axis=1)
            if self._label_ranges(contiguous):  # their first keys are exact
                return
            ranges = identities.exact_ranges(ranges, begin, self._labels_of)
        if ranges is None or not self._label_ranges(ranges):
            self.labels = self._labels_of(self.images)
            self.identities = identities.runs(self.labels)
            self.notes.append(
                f"{self.rec_path}: identity records do not fit the images' labels; the labels are used "
                f"({self._rewritten()})"
            )

    def _exact_header(self, keys: KeyRuns, near: int) -> Tuple[int, int]:
        """Exact first identity key and last + 1: the first is that of the first empty record near ``near``."""
        step = int(identities.float32_steps(near))
        window = np.asarray(keys.between(near - step, near + step + 1))
        headers = self.records.headers(window)
        empty = window[(headers.flags == 2) & (headers.sizes == 0)]
        if not len(empty):
            raise InsightError(
                f"{self.rec_path}: no identity record near key {near}, the first by the header; {self._rewritten()}"
            )
        return int(empty[0]), int(keys[-1]) + 1

    def _label_ranges(self, ranges: np.ndarray) -> bool:
        """Set the labels by range; False if ranges do not cover the images, or the labels at the ends of one differ."""
        rows = self.images.position(ranges)
        rows = rows[rows[:, 0] < rows[:, 1]]
        if not len(rows) or rows[0, 0] or rows[-1, 1] < len(self.images) or (rows[1:, 0] != rows[:-1, 1]).any():
            return False
        first = self._labels_of(self.images[rows[:, 0]])
        if not np.array_equal(first, self._labels_of(self.images[rows[:, 1] - 1])):
            return False
        self.identities, self.labels = rows, np.repeat(first, rows[:, 1] - rows[:, 0])
        return True

    def _open_plain(self) -> None:
        self.images = self.records.keys.ascending()
        self.labels = self._labels_of(self.images)
        self.identities = identities.runs(self.labels)
        self.notes.append(f"{self.rec_path}: no header record (an im2rec file); identities are taken from the labels")

    def _labels_of(self, keys: Keys) -> np.ndarray:
        """(N,) int32 labels from the headers of the images. Raises InsightError if one is not an integer."""
        labels = np.empty(len(keys), np.int32)
        for begin in range(0, len(keys), _BLOCK_ROWS):
            some = np.asarray(keys[begin : begin + _BLOCK_ROWS])
            values = self.records.headers(some).first
            whole = (values == np.floor(values)) & (np.abs(values) <= LARGEST_LABEL)
            if not whole.all():
                at = int(np.flatnonzero(~whole)[0])
                raise InsightError(
                    f"{self.records.name}: key {some[at]} has label {values[at]:.9g}, want the integer of an identity "
                    f"below 2^31; `{remedies.into_new(self.rec_path)}` renumbers labels and skips records without one"
                )
            labels[begin : begin + len(some)] = values
        return labels

    def distinct_labels(self) -> np.ndarray:
        """(C,) int32 distinct labels, ascending."""
        return np.unique(self.labels[self.identities[:, 0]])

    def _read_property(self) -> None:
        folder = os.path.dirname(self.rec_path) or "."
        if os.path.exists(os.path.join(folder, property.NAME)):
            try:
                self.num_classes, *size = property.read_property(folder)
            except InsightError as error:
                raise InsightError(
                    f"{error}; `{remedies.in_place(self.rec_path, overwrite=True)}` rewrites it"
                ) from None
            self.image_size = (size[0], size[1])
            return
        self.num_classes = max(int(self.distinct_labels()[-1]) + 1, 1)
        size = image_size(self.payload(0))
        if size is None:
            raise InsightError(
                f"{folder}/property: missing, and key {self.images[0]} of {self.rec_path} is not a JPEG or PNG with a "
                f"size; `{remedies.in_place(self.rec_path)}` takes the size from the other images"
            )
        self.image_size = size
        derived = property.Property(self.num_classes, *size).text()
        self.notes.append(
            f"{folder}/property: missing; derived {derived} from the labels and the first image "
            f"(`{remedies.in_place(self.rec_path)}` writes it)"
        )

    def _rewritten(self) -> str:  # the remedy, for messages
        return f"`{remedies.into_new(self.rec_path)}` writes the set with new header and identity records"

    def __len__(self) -> int:
        return len(self.images)

    def payload(self, i: int) -> memoryview:
        """The encoded bytes of the i-th image, a view of the file.

        Raises
        ------
        InsightError
            The record is damaged; the message names file, key and offset.
        """
        return self.records.read(int(self.images[i])).payload

    def fingerprint(self) -> str:
        """SHA-256 (hex) of property, .idx, labels and the .rec's size, to distinguish sets; images are not read.

        A set in shards has the same fingerprint as in a single .rec.
        """
        digest = hashlib.sha256()
        digest.update(property.Property(self.num_classes, *self.image_size).text().encode())
        digest.update(str(self.records.bytes).encode())
        labels = np.split(self.labels, range(_BLOCK_ROWS, len(self.labels), _BLOCK_ROWS))
        for column in (self.records.keys.blocks(), self.records.offset_blocks(), labels):
            for block in column:
                digest.update(np.ascontiguousarray(block, "<i8"))
        return digest.hexdigest()

    def read_ahead(self, positions: np.ndarray) -> Iterator[int]:
        """Read images, by position, into the page cache; see :meth:`RecordFile.read_ahead`."""
        return self.records.read_ahead(self.images[positions])

    def close(self) -> None:
        self.records.close()

    def __enter__(self) -> FaceSet:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"FaceSet({self.rec_path!r}, {len(self)} images, {self.num_classes} classes)"


def find_rec(path: str) -> str:
    """The .rec (or first shard) for a folder, a .rec path or a prefix. Raises as :meth:`FaceSet.open`."""
    path = os.fspath(path)
    if not os.path.isdir(path):
        rec_path = path if os.path.isfile(path) else _of_prefix(path)
    else:
        names = shards.sets_in(path)
        if not names:
            killed = any(name.endswith(".rec") for name in commit.unfinished(path))
            raise InsightError(f"{path}: {_KILLED if killed else 'holds no .rec file; write one with face2rec'}")
        default = [name for name in names if shards.stem(name) == shards.stem(DEFAULT_NAME)]
        if len(names) > 1 and len(default) != 1:
            raise InsightError(f"{path}: holds {', '.join(names[:5])}; give one of these files")
        rec_path = os.path.join(path, names[0] if len(names) == 1 else default[0])
    pending = {name for name in commit.unfinished(os.path.dirname(rec_path) or ".") if name.endswith(".rec")}
    if shards.pattern(os.path.basename(rec_path)) in map(shards.pattern, pending):
        raise InsightError(f"{rec_path}: {_KILLED}")
    return shards.members(rec_path)[0]


def _of_prefix(prefix: str) -> str:
    """``prefix.rec``, or the first of its shards that exists."""
    folder, stem = os.path.split(prefix)
    if os.path.isfile(prefix + ".rec"):
        return prefix + ".rec"
    names = [name for name in shards.existing(folder or ".", stem) if name.endswith(".rec")]
    if not names:
        raise InsightError(f"{prefix}: no such folder, .rec file or prefix of one; give a set that face2rec wrote")
    if len({shards.pattern(name) for name in names}) > 1:
        raise InsightError(f"{prefix}: means {', '.join(names[:5])}; give one of these files")
    return os.path.join(folder, names[0])
