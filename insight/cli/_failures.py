"""How a command ends when it fails: one line on stderr, and an exit status.

=====  ============================================================================================
0      done
1      the check that was asked for failed
2      bad input or usage, or the system refused something: files, permissions, memory, connections
70     a defect of insight (``EX_SOFTWARE`` of sysexits.h); the traceback is in a file, for a report
130    interrupted; 128 + the signal's number in general
=====  ============================================================================================

``INSIGHT_TRACEBACK=1`` prints the traceback of every failure.
"""

from __future__ import annotations

import errno
import os
import platform
import select
import shlex
import sys
import tempfile
import time
import traceback
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple, Optional, Sequence

from .. import __version__
from ..errors import InsightError

USAGE = 2
DEFECT = 70
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
SHOW_TRACEBACK = "INSIGHT_TRACEBACK"
LONGEST = 300  # characters of an unknown exception's message that are shown

# Error numbers of an OSError after misuse of a descriptor or an argument by our own code. All others are refusals of
# the system.
_OUR_MISTAKES = {errno.EBADF, errno.EINVAL, errno.EFAULT, errno.ENOTTY, errno.ESPIPE}
# Phrases in the messages of libraries' own exception classes: (class name, phrase, what it means).
_LIBRARY_REFUSALS = (
    ("MXNetError", "out of memory", "GPU memory is exhausted; use a smaller batch"),
    ("MXNetError", "Memory allocation failed", "memory is exhausted; use a smaller batch"),
    ("MXNetError", "std::bad_alloc", "memory is exhausted; use a smaller batch"),
    ("MXNetError", "CUDA: invalid device ordinal", "no such GPU; see: insight doctor"),
    ("error", "Insufficient memory", "memory is exhausted; use a smaller batch or fewer workers"),  # cv2.error
)


class Failure(NamedTuple):
    """What to print behind ``error:`` (None: nothing) and the status to exit with."""

    message: Optional[str]
    status: int


def fail(error: BaseException, argv: Sequence[str]) -> int:
    """Report an exception on stderr and return the exit status.

    Parameters
    ----------
    error : BaseException
        As caught; its traceback is used for defects.
    argv : sequence of str
        The command line, for the file that a defect writes.
    """
    failure = describe(error)
    if failure.status == DEFECT:
        failure = Failure(_report_of(error, failure.message or "", argv), DEFECT)
    if os.environ.get(SHOW_TRACEBACK, "") not in ("", "0"):
        _print("".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip())
    if failure.message is not None:
        _print("error: " + " ".join(failure.message.split()))
    return failure.status


def describe(error: BaseException) -> Failure:
    """Message and exit status of an exception."""
    if isinstance(error, InsightError):
        return Failure(str(error), error.exit_status)
    if isinstance(error, KeyboardInterrupt):
        return Failure("interrupted", INTERRUPTED)
    if isinstance(error, BrokenProcessPool):
        return Failure("a worker process was killed, often for lack of memory; use fewer workers", USAGE)
    if isinstance(error, MemoryError):
        return Failure("out of memory; use a smaller --batch-size or fewer workers", USAGE)
    if isinstance(error, BrokenPipeError) and _reader_left():
        return Failure("standard output: its reader ended before the command was done", USAGE)
    if isinstance(error, (ConnectionError, TimeoutError)) or (
        isinstance(error, OSError) and error.errno is not None and error.errno not in _OUR_MISTAKES
    ):
        return Failure(_describe_refusal(error), USAGE)
    if isinstance(error, ImportError) and (error.name or "").split(".")[0] != "insight":
        return Failure(f"{_one_line(error)}; the installation is incomplete; see: insight doctor", USAGE)
    for kind, phrase, meaning in _LIBRARY_REFUSALS:
        if type(error).__name__ == kind and phrase in str(error):
            return Failure(meaning, USAGE)
    return Failure(f"{type(error).__name__}: {_one_line(error)}", DEFECT)


def _reader_left() -> bool:
    """Whether stdout is a pipe whose reader has closed it."""
    poll = select.poll()
    poll.register(1, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def _describe_refusal(error: OSError) -> str:
    """File and reason; for a rename, both files."""
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
    work = "writing" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EPIPE) else "reading or writing"
    return f"{' -> '.join(names) or work}: {error.strerror or str(error) or type(error).__name__}"


def _one_line(error: BaseException) -> str:
    """An exception's message without the stack traces that libraries append to theirs."""
    text = " ".join(str(error).split("Stack trace")[0].split())
    return (text if len(text) <= LONGEST else text[:LONGEST] + "...") or "no message"


def _report_of(error: BaseException, message: str, argv: Sequence[str]) -> str:
    """The line for a defect; the traceback goes to a file, or to stderr where no file can be written."""
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    text = (
        f"insight {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"command: {shlex.join(argv)}\n\n{trace}"
    )
    try:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        descriptor, path = tempfile.mkstemp(".txt", f"insight-traceback-{stamp}-", text=True)
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as out:
            out.write(text)
        where = f"the traceback is in {path}"
    except OSError:
        _print(text)
        where = "the traceback is above"
    return f"{message}; this is a defect of insight, please report it: {where}"


def _print(text: str) -> None:
    """Print a line on stderr; do nothing if stderr is closed, because a failure to report must not hide the status."""
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        pass
