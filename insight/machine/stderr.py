"""Redirection of file descriptor 2 during native code that prints there and cannot be configured not to.

A process has one stderr, so only one thread at a time may redirect it; the others wait. The code in the block must
not wait for a thread that redirects it too.
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
    """Redirect stderr to an open file.

    Parameters
    ----------
    target : int
        Descriptor of the file.

    Yields
    ------
    bool
        Whether stderr is redirected: a daemon may have none.
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
    """Discard output on stderr."""
    with open(os.devnull, "wb") as nowhere, redirected(nowhere.fileno()):
        yield


def _after_fork() -> None:
    """A child process needs its own lock: a thread of the parent may have the parent's."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)
