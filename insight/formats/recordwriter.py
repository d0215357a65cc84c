"""Write .rec and .idx files, byte-identical to those of ``mx.recordio.MXIndexedRecordIO``, without NumPy."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import BinaryIO, Optional, Sequence, Tuple

from ..errors import InsightError
from ..files.commit import PathLike, commit_together
from .framing import Labels, frame, id2_of, record_data

BUFFER_BYTES = 1 << 20


class RecordStream:
    """Writes records into an open .rec and .idx. The caller is responsible for their atomic replacement.

    Attributes
    ----------
    count : int
        Records written so far.
    offset : int
        Bytes written to the current .rec so far.
    """

    def __init__(self, rec: BinaryIO, idx: BinaryIO):
        self.count = 0
        self.begin_files(rec, idx)

    def begin_files(self, rec: BinaryIO, idx: BinaryIO) -> None:
        """Write the following records into these files."""
        self._write_rec, self._write_idx = rec.write, idx.write
        self.offset = 0

    def write(self, key: int, payload: bytes, label: Labels, id: int = 0, id2: int = 0) -> None:
        """Append one record.

        Parameters
        ----------
        key : int
            Key in the .idx. Keys must be distinct; otherwise the reader raises.
        payload : bytes
            The encoded image; empty for header and identity records.
        label : number or sequence of numbers
            The flag is 0 for a number, and the length of a sequence. Labels are stored as float32, so
            integers above 16,777,216 are rounded.
        id : int
            The record's own number, in its header.
        id2 : int
            For an integer label, :func:`~insight.formats.framing.id2_of` the label.

        Raises
        ------
        InsightError
            The record is too large.
        """
        try:
            framed = frame(record_data(payload, label, id, id2))
        except ValueError as error:
            raise InsightError(f"record of key {key}: {error}") from None
        self._write_rec(framed)
        self._write_idx(b"%d\t%d\n" % (key, self.offset))
        self.offset += len(framed)
        self.count += 1

    def write_identities(self, ranges: Sequence[Tuple[int, int]], images: int, header_first: bool) -> None:
        """Append identity records, each with a range of image keys, and the header record with the range of their keys.

        Parameters
        ----------
        ranges : sequence of (int, int)
            ``[first, last + 1)`` keys of the images of each identity; images have keys 1..N.
        images : int
            N; identity records have keys N + 1 and up.
        header_first : bool
            Whether the header (key 0) is written before the identity records, as face2rec2 does, or after them, as
            dataset_merge does.
        """
        begin = images + 1
        header = (begin, begin + len(ranges))
        if header_first:
            self.write(0, b"", header, 0, id2_of(begin))
        for key, edges in enumerate(ranges, begin):
            self.write(key, b"", edges, key, id2_of(edges[0]))
        if not header_first:
            self.write(0, b"", header, 0, id2_of(begin))

    def write_framed(self, records, lines: Sequence[bytes]) -> None:
        """Append framed records (bytes-like) and their lines of the .idx."""
        self._write_rec(records)
        self._write_idx(b"".join(lines))
        self.offset += len(records)
        self.count += len(lines)


class ShardStream(RecordStream):
    """Writes the records of a set into its shards in turn. As a context manager, it closes the files.

    Parameters
    ----------
    paths : sequence of (path, path)
        The .rec and the .idx of each shard; one pair for a set in one file.
    images : int
        Maximum number of images. Each shard gets an equal part, and the last one also the header and identity records.
    """

    def __init__(self, paths: Sequence[Tuple[PathLike, PathLike]], images: int):
        self._paths = list(paths)
        self._ends = [images * (number + 1) // len(paths) for number in range(len(paths) - 1)]
        self._files = ExitStack()
        self.shard = 0
        super().__init__(*self._open())

    def _open(self) -> Tuple[BinaryIO, BinaryIO]:
        rec, idx = (open(path, "wb", buffering=BUFFER_BYTES) for path in self._paths[self.shard])
        self._files.push(rec)
        self._files.push(idx)
        return rec, idx

    def room(self, images: int) -> int:
        """Open the shard of the next image, after ``images`` images; returns how many images it can still take."""
        while self.shard < len(self._ends) and images >= self._ends[self.shard]:
            self._begin_next()
        return self._ends[self.shard] - images if self.shard < len(self._ends) else sys.maxsize

    def _begin_next(self) -> None:
        self._files.close()
        self.shard += 1
        self.begin_files(*self._open())

    def write_identities(self, ranges: Sequence[Tuple[int, int]], images: int, header_first: bool) -> None:
        self.finish()
        super().write_identities(ranges, images, header_first)

    def finish(self) -> None:
        """Open the last shard, after all images were written."""
        while self.shard < len(self._ends):
            self._begin_next()

    def __enter__(self) -> ShardStream:
        return self

    def __exit__(self, kind, error, trace) -> None:
        with self._files:
            if error is None:
                self.finish()  # creates the files of empty shards


class RecordWriter:
    """Writer of a .rec and its .idx, which get their final names when it is closed.

    As a context manager it commits at the end of the block, and removes the files if the block
    raises. Otherwise, call ``close`` or ``abort``.

    Raises
    ------
    InsightError
        One of the two already exists, and ``overwrite`` is false.
    """

    def __init__(self, rec_path: str, overwrite: bool = False):
        folder, name = os.path.split(os.fspath(rec_path))
        stem = os.path.splitext(name)[0]
        self._files: Optional[ExitStack] = ExitStack()
        self._commit = commit_together(folder or ".", [stem + ".idx", name], overwrite)
        staging = self._commit.__enter__()
        rec = self._files.enter_context(open(staging.path(name), "wb", buffering=BUFFER_BYTES))
        idx = self._files.enter_context(open(staging.path(stem + ".idx"), "wb", buffering=BUFFER_BYTES))
        self._stream = RecordStream(rec, idx)
        self.write = self._stream.write

    def __len__(self) -> int:
        return self._stream.count

    def close(self) -> None:
        """Finish both files and rename them to their final names. A second call does nothing."""
        if self._files is not None:
            files, self._files = self._files, None
            files.close()
            self._commit.__exit__(None, None, None)

    def abort(self, error: Optional[BaseException] = None) -> None:
        """Discard both files. Does nothing after ``close``."""
        if self._files is not None:
            files, self._files = self._files, None
            files.close()
            error = error or InterruptedError("the writer was aborted")
            try:
                self._commit.__exit__(type(error), error, error.__traceback__)
            except BaseException as raised:
                if raised is not error:
                    raise

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, kind, error, trace) -> None:
        if error is None:
            self.close()
        else:
            self.abort(error)
