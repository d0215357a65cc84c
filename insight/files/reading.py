"""Files that may be anything: a pipe, a device, a broken link, or gone. Reading one never waits for its writer."""

from __future__ import annotations

import errno
import os
import stat
from typing import Tuple

from ..errors import InsightError

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_FIRST_BYTES, _MORE_BYTES = 1 << 16, 1 << 22
MISSING = "no such file"
# Not this file's trouble: the next one would have it too, and a list of the rest would pass for the whole.
_ERRNO_NAMES = "EMFILE ENFILE ENOMEM ESTALE ETIMEDOUT ENOTCONN EHOSTDOWN EHOSTUNREACH ENETDOWN ENETUNREACH"
_EVERYWHERE = frozenset(getattr(errno, name) for name in _ERRNO_NAMES.split())


class Unreadable(InsightError):
    """A file cannot be read; the message is the reason, without the path."""


def read_head(path: str, count: int) -> bytes:
    """Up to so many of the first bytes of a file. Raises OSError; does not wait where it is a pipe."""
    descriptor = os.open(path, _FLAGS)
    try:
        return os.read(descriptor, count)
    finally:
        os.close(descriptor)


def read_file(path: str) -> bytes:
    """The bytes of a file, without ever waiting for a pipe or reading a device.

    Raises
    ------
    Unreadable
        There is no such file, it cannot be read or is empty.
    InsightError
        The machine or the network fails: other files would have the same trouble.
    """
    room = bytearray(_FIRST_BYTES)
    size, rest = read_into(path, room)
    return bytes(memoryview(room)[:size]) + rest


def read_into(path: str, room) -> Tuple[int, bytes]:
    """Read a file into a writable buffer: how many bytes are there, and those for which it has no room.

    Raises
    ------
    Unreadable, InsightError
        As :func:`read_file`.
    """
    try:
        descriptor = os.open(path, _FLAGS)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Unreadable(why_unreadable(path))
            size = os.readv(descriptor, (room,))
            rest = _rest(descriptor) if size == len(room) else b""
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Unreadable(why(path, error)) from None
    if not size:
        raise Unreadable("empty file")
    return size, rest


def _rest(descriptor: int) -> bytes:
    pieces = [os.read(descriptor, _MORE_BYTES)]
    while pieces[-1]:
        pieces.append(os.read(descriptor, _MORE_BYTES))
    return b"".join(pieces)


def why_unreadable(path: str) -> str:
    """Why a path is no file that can be opened, as far as that shows without opening it; empty where it is one."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return why(path, error)
    if stat.S_ISREG(mode):
        return ""
    return "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"


def why(path: str, error: OSError) -> str:
    """In words, why a file could not be opened or read."""
    raise_if_not_its_own(path, error)
    if error.errno == errno.ENXIO:  # a socket
        return "a pipe, socket or device"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "a broken link" if os.path.islink(path) else MISSING
    return f"unreadable: {error.strerror}"


def raise_if_not_its_own(path: str, error: OSError) -> None:
    """Raise InsightError if the machine or the network fails, and not just this file."""
    if error.errno in _EVERYWHERE:
        raise InsightError(f"{path}: cannot be read ({error.strerror}); mend that, then run again") from None
