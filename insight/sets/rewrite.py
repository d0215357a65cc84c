"""Chosen images of record sets -> a new set, payload bytes as they are.

Laid out as InsightFace's dataset_merge does it: images have keys 1..N with scalar labels, then
comes a record per identity with its range of keys, then key 0 with the range of those.
Source: ``src/data/dataset_merge.py`` @9fc3cc9c.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import Iterable, Iterator, List, Optional, Tuple

from ..errors import InsightError
from ..files.commit import Staging, commit_together, refuse_existing
from ..formats.property import NAME, Property
from ..formats.recordwriter import BUFFER_BYTES, RecordStream
from .pack import SET_NAME

FILES = (SET_NAME + ".rec", SET_NAME + ".idx", NAME)


class SetStream:
    """A set that is being written, identity after identity; labels are 0, 1, 2, .. in that order.

    Attributes
    ----------
    images, identities : int
        Written so far.
    """

    def __init__(self, records: RecordStream):
        self._records = records
        self._ranges: List[Tuple[int, int]] = []
        self.images = 0

    @property
    def identities(self) -> int:
        return len(self._ranges)

    def write(self, payloads: Iterable[bytes]) -> int:
        """Append an identity with its encoded images, one at least; returns its label."""
        label, begin = len(self._ranges), self.images + 1
        for payload in payloads:
            self.images += 1
            self._records.write(self.images, payload, label, self.images)
        self._ranges.append((begin, self.images + 1))
        return label

    def finish(self) -> None:
        """Write the identity records and the header."""
        self._records.write_identities(self._ranges, self.images, header_first=False)


@contextmanager
def new_set(
    folder: str, size: Tuple[int, int], beside: Iterable[str] = (), overwrite: bool = False
) -> Iterator[Tuple[SetStream, Staging]]:
    """Write ``train.rec``, ``train.idx`` and ``property`` into a folder; they appear together or not at all.

    Parameters
    ----------
    folder : str
    size : (int, int)
        (height, width) of the images, for ``property``.
    beside : iterable of str
        Names of further files that the block writes, to ``staging.path(name)``.
    overwrite : bool
        Whether files that stand there may be replaced.

    Raises
    ------
    InsightError
        A file stands there, or the block wrote no identity.
    """
    with commit_together(folder, [*beside, *FILES], overwrite) as staging, ExitStack() as files:
        rec, idx = (files.enter_context(open(staging.path(n), "wb", buffering=BUFFER_BYTES)) for n in FILES[:2])
        stream = SetStream(RecordStream(rec, idx))
        yield stream, staging
        if not stream.identities:
            raise InsightError(f"{folder}: no identity is left, so no set is written; loosen the thresholds")
        stream.finish()
        staging.path(NAME).write_text(Property(stream.identities, *size).text(), encoding="ascii")


def refuse_outputs(
    sources: Iterable[str], folder: Optional[str], reports: Iterable[Optional[str]], overwrite: bool
) -> None:
    """Complain about outputs before hours of work, not after.

    Parameters
    ----------
    sources : iterable of str
        .rec files that are read, which no output may replace.
    folder : str, optional
        Where a set is to be written, if one is.
    reports : iterable of str, optional
        Other files to write.
    overwrite : bool

    Raises
    ------
    InsightError
        An output is one of the sources, or stands there and ``overwrite`` is not set.
    """
    if folder is not None:
        target = os.path.realpath(os.path.join(folder, FILES[0]))
        taken = [path for path in sources if os.path.realpath(path) == target]
        if taken:
            raise InsightError(
                f"--output {folder}: is where {taken[0]} stands, which is being read; give another folder"
            )
    if overwrite:
        return
    if folder is not None and os.path.isdir(folder):
        refuse_existing(folder, FILES)
    for path in reports:
        if path is not None and os.path.isdir(os.path.dirname(path) or "."):
            refuse_existing(os.path.dirname(path) or ".", [os.path.basename(path)])


def count_records(images: int, identities: int) -> str:
    """``20000 images + 9980 identity records + 1 header = 29981 records``."""
    return f"{images} images + {identities} identity records + 1 header = {images + identities + 1} records"
