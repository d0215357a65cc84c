"""Redirection of file descriptor 2, for native code whose output there cannot be disabled otherwise.

A process has one stderr, so only one thread at a time can redirect it, and others wait for it. The code in the block
must not wait for another thread that redirects stderr, which would be a deadlock.
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
        File descriptor.

    Yields
    ------
    bool
        Whether stderr is redirected. It is not if the process has no stderr, as some daemons.
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
    """Discard all output to stderr within the block."""
    with open(os.devnull, "wb") as nowhere, redirected(nowhere.fileno()):
        yield


def _after_fork() -> None:
    """Give a forked child a new lock, since a thread of the parent may have held the old one."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)
