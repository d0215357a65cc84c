"""Where file descriptor 2 goes while native code runs that prints there and has no setting against it.

A process has one stderr, so one thread at a time may send it elsewhere; the others wait. What is done meanwhile must
not wait for a thread that does the same.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import Iterator

STDERR = 2

_lock = threading.RLock()


@contextmanager
def redirected(target: int) -> Iterator[bool]:
    """Send stderr to an open file.

    Parameters
    ----------
    target : int
        Its descriptor.

    Yields
    ------
    bool
        Whether stderr goes there: a daemon may have none.
    """
    with _lock:
        try:
            saved = os.dup(STDERR)
        except OSError:
            yield False
            return
        try:
            os.dup2(target, STDERR)
            yield True
        finally:
            os.dup2(saved, STDERR)
            os.close(saved)


@contextmanager
def discarded() -> Iterator[None]:
    """Discard what is written to stderr."""
    with open(os.devnull, "wb") as nowhere, redirected(nowhere.fileno()):
        yield


def _after_fork() -> None:
    """A child process needs a lock of its own: a thread of the parent may hold the parent's."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)
