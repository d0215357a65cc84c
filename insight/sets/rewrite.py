"""Writing selected images of record sets to a new set, with unchanged payload bytes.

The layout is that of InsightFace's dataset_merge: images have the keys 1..N and scalar labels. They are followed by
one identity record per identity, which holds its range of keys, and by the header record, key 0, which holds the
range of the identity records. Source: ``src/data/dataset_merge.py`` @9fc3cc9c.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import Iterable, Iterator, List, Optional, Tuple

from ..errors import InsightError
from ..files.commit import Staging, commit_together, refuse_existing
from ..formats import shards
from ..formats.framing import id2_of
from ..formats.property import NAME, Property
from ..formats.recordwriter import ShardStream
from .pack import SET_NAME


class SetStream:
    """Writes a set identity by identity, with labels 0, 1, 2, .. in that order.

    Attributes
    ----------
    images, identities : int
        Numbers written so far.
    """

    def __init__(self, records: ShardStream):
        self._records = records
        self._ranges: List[Tuple[int, int]] = []
        self.images = 0

    @property
    def identities(self) -> int:
        return len(self._ranges)

    def write(self, payloads: Iterable[bytes]) -> int:
        """Append an identity with its encoded images, of which there must be at least one; return its label."""
        label, begin = len(self._ranges), self.images + 1
        for payload in payloads:
            self._records.room(self.images)
            self.images += 1
            self._records.write(self.images, payload, label, self.images, id2_of(label))
        self._ranges.append((begin, self.images + 1))
        return label

    def finish(self) -> None:
        """Write the identity records and the header."""
        self._records.write_identities(self._ranges, self.images, header_first=False)


def rec_of(folder: str, shard_count: int = 1) -> str:
    """Return the path of the .rec of a new set in a folder, for messages; a pattern if there are several shards."""
    return shards.pattern(os.path.join(folder, shards.names(SET_NAME, shard_count)[0]))


@contextmanager
def new_files(
    folder: str, shard_count: int, beside: Iterable[str] = (), overwrite: bool = False
) -> Iterator[Tuple[List[Tuple[Path, Path]], Staging]]:
    """Write the .rec and .idx files of a set ``train``, further files and ``property`` into a folder, all or none.

    Yields the temporary paths of the .rec and .idx of each shard, and the staging. With ``overwrite``, an existing
    set ``train`` with another number of shards is removed.

    Raises
    ------
    InsightError
        A file already exists and ``overwrite`` is not set.
    """
    pairs = shards.pairs(SET_NAME, shard_count)
    names = [name for pair in pairs for name in pair]
    replaced = set(shards.existing(folder, SET_NAME)) - set(names)
    if not overwrite:
        refuse_existing(folder, sorted(replaced))
    with commit_together(folder, [*beside, *names, NAME], overwrite) as staging:
        staging.obsolete += sorted(replaced)
        shards.sweep(folder, SET_NAME)
        yield staging.pairs(pairs), staging


@contextmanager
def new_set(
    folder: str,
    size: Tuple[int, int],
    images: int,
    shard_count: int = 1,
    beside: Iterable[str] = (),
    overwrite: bool = False,
) -> Iterator[Tuple[SetStream, Staging]]:
    """Write a set ``train`` and its ``property`` into a folder, all or none.

    Parameters
    ----------
    folder : str
    size : (int, int)
        (height, width) of the images in pixels, for ``property``.
    images : int
        Maximum number of images.
    shard_count : int
        Number of .rec files, each with an equal part of the images.
    beside : iterable of str
        Names of further files, which the ``with`` block writes to ``staging.path(name)``.
    overwrite : bool
        Whether existing files may be replaced.

    Raises
    ------
    InsightError
        A file already exists and ``overwrite`` is not set, or the ``with`` block wrote no identity.
    """
    with new_files(folder, shard_count, beside, overwrite) as (paths, staging), ShardStream(paths, images) as records:
        stream = SetStream(records)
        yield stream, staging
        if not stream.identities:
            raise InsightError(f"{folder}: no identity is left, so no set is written; loosen the thresholds")
        stream.finish()
        staging.path(NAME).write_text(Property(stream.identities, *size).text(), encoding="ascii")


def refuse_outputs(
    sources: Iterable[str], folder: Optional[str], reports: Iterable[Optional[str]], overwrite: bool
) -> None:
    """Raise if an output cannot be written, before hours of work.

    Parameters
    ----------
    sources : iterable of str
        .rec files that are read, which no output may replace.
    folder : str, optional
        Folder of the set to write, if any.
    reports : iterable of str or None
        Other files to write; None is ignored.
    overwrite : bool

    Raises
    ------
    InsightError
        An output is one of the sources, or already exists and ``overwrite`` is not set.
    """
    if folder is not None:
        names = {SET_NAME + ".rec", *shards.existing(folder, SET_NAME)}
        targets = {os.path.realpath(os.path.join(folder, name)) for name in names}
        taken = [path for path in sources if os.path.realpath(path) in targets]
        if taken:
            raise InsightError(
                f"--output {folder}: is the folder of {taken[0]}, which is being read; give another folder"
            )
    if overwrite:
        return
    if folder is not None and os.path.isdir(folder):
        refuse_existing(folder, [SET_NAME + ".rec", SET_NAME + ".idx", *shards.existing(folder, SET_NAME), NAME])
    for path in reports:
        if path is not None and os.path.isdir(os.path.dirname(path) or "."):
            refuse_existing(os.path.dirname(path) or ".", [os.path.basename(path)])


def count_records(images: int, identities: int) -> str:
    """Return a text such as ``20000 images + 9980 identity records + 1 header = 29981 records``."""
    return f"{images} images + {identities} identity records + 1 header = {images + identities + 1} records"
