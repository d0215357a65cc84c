"""What a C library prints on stderr while a function runs, kept off the terminal.

OpenCV's decoders print what they find wrong with a picture and tell their caller nothing. For the
time of one call, file descriptor 2 is a scratch file; what others wrote meanwhile is passed on.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from typing import Callable, List, Tuple, TypeVar

T = TypeVar("T")

STDERR = 2
# How the lines of libjpeg, libpng, and of OpenCV's own decoders and log begin.
_OURS = re.compile(
    rb"Corrupt JPEG data|Premature end of JPEG|Invalid SOS|Inconsistent progression|Application transferred"
    rb"|Warning: unknown JFIF|Unknown Adobe|Unsupported marker|Invalid component ID|libpng (?:warning|error)"
    rb"|imdecode_\(|\[ ?(?:WARN|ERROR|INFO|DEBUG|FATAL):\d+@|OpenCV"
)

_lock = threading.Lock()
_scratch: List = []  # the file, once it is needed


def overhear(function: Callable[[], T]) -> Tuple[T, List[str]]:
    """Call a function; also return the lines that a picture decoder printed meanwhile.

    One call at a time; a process that decodes much in several threads should do without.
    """
    with _lock:
        scratch = _scratch_file()
        try:
            saved = os.dup(STDERR)
        except OSError:  # a daemon without stderr
            return function(), []
        try:
            os.dup2(scratch, STDERR)
            try:
                result = function()
            finally:
                os.dup2(saved, STDERR)
        finally:
            os.close(saved)
            ours, others = _split(_take(scratch))
            if others:
                _write(others)
        return result, ours


def _scratch_file() -> int:
    if not _scratch:
        _scratch.append(tempfile.TemporaryFile(buffering=0))
    return _scratch[0].fileno()


def _take(scratch: int) -> bytes:
    printed = os.pread(scratch, os.fstat(scratch).st_size, 0)
    if printed:
        os.ftruncate(scratch, 0)
        os.lseek(scratch, 0, os.SEEK_SET)
    return printed


def _split(printed: bytes) -> Tuple[List[str], bytes]:
    """The decoder's lines, and what is another's."""
    ours: List[str] = []
    others: List[bytes] = []
    for line in printed.splitlines(keepends=True):
        if _OURS.match(line):
            ours.append(line.decode("utf-8", "replace").strip())
        elif line.strip() or not ours:  # OpenCV's log leaves blank lines behind some of its own
            others.append(line)
    return ours, b"".join(others)


def _write(data: bytes) -> None:
    while data:
        try:
            data = data[os.write(STDERR, data) :]
        except OSError:  # the reader left
            return


def _after_fork() -> None:
    """A child has a lock and a scratch file of its own: the parent's may be in use at this moment."""
    global _lock
    _lock = threading.Lock()
    _scratch.clear()


os.register_at_fork(after_in_child=_after_fork)
