"""Capture the output of image decoders on stderr.

OpenCV's decoders print their warnings and do not return them. During a call, file descriptor 2 refers to a temporary
file; lines that other code printed meanwhile are written to the real stderr afterwards.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from typing import Callable, List, Tuple, TypeVar

from ..machine.stderr import STDERR, redirected

T = TypeVar("T")

_MOST_BYTES = 1 << 22  # of the temporary file, before a new one replaces it
# How the lines of libjpeg, libpng, OpenCV's own decoders and OpenCV's log begin.
_DECODER_LINE = re.compile(
    rb"Corrupt JPEG data|Premature end of JPEG|Invalid SOS|Inconsistent progression|Application transferred"
    rb"|Warning: unknown JFIF|Unknown Adobe|Unsupported marker|Invalid component ID|libpng (?:warning|error)"
    rb"|imdecode_\(|\[ ?(?:WARN|ERROR|INFO|DEBUG|FATAL):\d+@|OpenCV"
)

_lock = threading.Lock()
_scratch: List[_ScratchFile] = []  # the temporary file; empty before the first use


def capture(function: Callable[[], T]) -> Tuple[T, List[str]]:
    """Call a function and capture the lines that an image decoder prints.

    Calls from several threads run one after the other, so use it only for images that may be damaged.

    Returns
    -------
    result
        Return value of the function.
    lines : list of str
        Lines that the decoder printed.
    """
    with _lock:
        try:
            os.fstat(STDERR)
        except OSError:  # a daemon without stderr: the temporary file must not become descriptor 2
            return function(), []
        scratch = _scratch_file()
        lines: List[str] = []
        _write(scratch.read())  # written by another thread just after the last call
        try:
            with redirected(scratch.fileno()):
                result = function()
        finally:
            lines, others = _split(scratch.read())
            _write(others)
        return result, lines


class _ScratchFile:
    """A temporary file that stderr is redirected to; :meth:`read` returns the bytes written since the last call."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)
        self._done = 0

    def fileno(self) -> int:
        return self._file.fileno()

    def read(self) -> bytes:
        # The position, not the size: lseek waits for another thread's write, but the size grows page by page.
        end = os.lseek(self.fileno(), 0, os.SEEK_CUR)
        written = os.pread(self.fileno(), end - self._done, self._done)
        self._done += len(written)
        return written

    def is_large(self) -> bool:
        return self._done > _MOST_BYTES


def _scratch_file() -> _ScratchFile:
    if not _scratch or _scratch[0].is_large():
        _scratch[:] = [_ScratchFile()]
    return _scratch[0]


def _split(printed: bytes) -> Tuple[List[str], bytes]:
    """The decoder's lines, and everything else."""
    lines: List[str] = []
    others: List[bytes] = []
    for line in printed.splitlines(keepends=True):
        if _DECODER_LINE.match(line):
            lines.append(line.decode("utf-8", "replace").strip())
        elif line.strip() or not lines:  # OpenCV's log prints blank lines after some messages
            others.append(line)
    return lines, b"".join(others)


def _write(data: bytes) -> None:
    while data:
        try:
            data = data[os.write(STDERR, data) :]
        except OSError:  # stderr is closed
            return


def _after_fork() -> None:
    """A child process needs its own lock and file: a thread of the parent may be using the parent's."""
    global _lock
    _lock = threading.Lock()
    _scratch.clear()


os.register_at_fork(after_in_child=_after_fork)
