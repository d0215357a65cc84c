"""Read files without blocking, even if a path is a pipe, a device, a broken link, or missing."""

from __future__ import annotations

import errno
import os
import stat
from typing import Tuple

from ..errors import InsightError

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_FIRST_BYTES, _MORE_BYTES = 1 << 16, 1 << 22
MISSING, REFUSED = "no such file", "unreadable"
# Errors of the machine or the network: other files would fail too, and skipping them would give an incomplete list.
_ERRNO_NAMES = "EMFILE ENFILE ENOMEM ESTALE ETIMEDOUT ENOTCONN EHOSTDOWN EHOSTUNREACH ENETDOWN ENETUNREACH"
_EVERYWHERE = frozenset(getattr(errno, name) for name in _ERRNO_NAMES.split())


class Unreadable(InsightError):
    """The file cannot be read; the message is the reason, without the path."""


def read_head(path: str, count: int) -> bytes:
    """The first bytes of a file, ``count`` at most. Does not block on a pipe. Raises OSError."""
    descriptor = os.open(path, _FLAGS)
    try:
        return os.read(descriptor, count)
    finally:
        os.close(descriptor)


def read_file(path: str) -> bytes:
    """The bytes of a file, without blocking on a pipe or reading a device.

    Raises
    ------
    Unreadable
        The file is missing, cannot be read or is empty.
    InsightError
        The machine or the network failed, so that other files would fail too.
    """
    room = bytearray(_FIRST_BYTES)
    size, rest = read_into(path, room)
    return bytes(memoryview(room)[:size]) + rest


def read_into(path: str, room) -> Tuple[int, bytes]:
    """Read a file into a writable buffer; returns the number of bytes in it, and the bytes that did not fit into it.

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
    """The reason why a path is not a regular file, found without opening it; empty if it is one."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return why(path, error)
    if stat.S_ISREG(mode):
        return ""
    return "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"


def why(path: str, error: OSError) -> str:
    """The reason for an error of opening or reading a file, as text. Raises as :func:`raise_if_not_its_own`."""
    raise_if_not_its_own(path, error)
    if error.errno == errno.ENXIO:  # a socket
        return "a pipe, socket or device"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "a broken link" if os.path.islink(path) else MISSING
    return f"{REFUSED}: {error.strerror}"


def raise_if_not_its_own(path: str, error: OSError) -> None:
    """Raise InsightError if the error is one of the machine or the network, not of this file only."""
    if error.errno in _EVERYWHERE:
        raise InsightError(f"{path}: cannot be read ({error.strerror}); fix that, then run again") from None
