"""A file that all ranks write together, each its own parts in place. It gets its name when all are done.

All ranks must see the same file system. An error on one rank is raised on all of them.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import IO, Iterator, List, Optional

from ..errors import InsightError
from ..files import atomic
from .group import Ranks


@contextmanager
def written_together(path: atomic.PathLike, size: int, ranks: Ranks) -> Iterator[IO[bytes]]:
    """Open a file on every rank for writing at any offset. All ranks call it together.

    After an error, a file that already exists at ``path`` is unchanged.

    Parameters
    ----------
    path : path
        Only that of rank 0 is used.
    size : int
        Size of the file in bytes; bytes that no rank writes are zero.
    ranks : Ranks

    Raises
    ------
    InsightError
        Writing failed on another rank, or this rank does not see the file.
    OSError
        Writing failed on this rank.
    """
    with raised_on_all(ranks, "file/renamed"), ExitStack() as stack:
        partial = ""
        with raised_on_all(ranks, "file/created"):
            if ranks.rank == 0:
                partial = str(stack.enter_context(atomic.temporary_beside(path)))
                with open(partial, "wb") as out:
                    out.truncate(size)
        partial = ranks.objects("file/name", os.path.abspath(partial))[0]
        with raised_on_all(ranks, "file/opened"):
            out = stack.enter_context(_opened(partial))
        with raised_on_all(ranks, "file/written", path):
            yield out
            out.flush()
            os.fsync(out.fileno())


@contextmanager
def raised_on_all(ranks: Ranks, name: str, path: atomic.PathLike = "") -> Iterator[None]:
    """Context manager that all ranks enter; an :class:`InsightError` or OSError on one rank is raised on all.

    Parameters
    ----------
    ranks : Ranks
    name : str
        Name of the operation, as in :class:`insight.ranks.group.Ranks`.
    path : path
        File that the block writes; it is added to an OSError that names no file.
    """
    error: Optional[Exception] = None
    try:
        yield
    except (InsightError, OSError) as raised:
        error = raised
        if path and isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error = OSError(error.errno, error.strerror, os.fspath(path))
    messages: List[Optional[str]] = ranks.objects(name, None if error is None else str(error))
    if error is not None:
        raise error
    for rank, message in enumerate(messages):
        if message is not None:
            raise InsightError(f"rank {rank}: {message}")


def _opened(path: str) -> IO[bytes]:
    try:
        return open(path, "rb+")
    except FileNotFoundError:
        raise InsightError(
            f"{path}: rank 0 has made this file, and it is not there on this machine; name a --prefix in a folder that "
            "all machines share"
        ) from None
