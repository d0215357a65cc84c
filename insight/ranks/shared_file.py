"""One file that all ranks write, each its parts of it in place. It gets its name when all are done.

The ranks see one file system. What goes wrong on one of them is raised on all.
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
    """The file, open on every rank for writing anywhere; all ranks call it together.

    Parameters
    ----------
    path : path
        What rank 0 says counts.
    size : int
        Bytes; what nobody writes is zero.
    ranks : Ranks

    Raises
    ------
    InsightError
        It went wrong on another rank, or this one does not see the file.
    OSError
        It went wrong here. The file of that name is what it was.
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
    """A block that all ranks run; where an :class:`InsightError` or OSError ends it on one, none goes on.

    Parameters
    ----------
    ranks : Ranks
    name : str
        Of the operation, as in :class:`insight.ranks.group.Ranks`.
    path : path
        That is written in the block, for an error of writing: it does not know its file.
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
