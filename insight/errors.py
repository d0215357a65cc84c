"""The errors of a command, and file names as printable text.

Grammar of a message: which file or option, the rule, what was found, what to do.
For example: ``data/train.rec: not a RecordIO file (magic 0x46464952 at offset 0,
want 0xced7230a); give the .rec that face2rec or im2rec wrote``.
"""

from __future__ import annotations


class InsightError(Exception):
    """Invalid input or usage. The command line prints ``error: <message>`` and exits with status 2."""

    exit_status = 2


class CheckFailed(InsightError):
    """The input was valid and the requested check failed. Exit status 1."""

    exit_status = 1


def printable(name: str) -> str:
    """A file name as printable text: bytes that are not UTF-8, line ends and control characters are escaped."""
    return name if name.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in name)


def _escape(c: str) -> str:
    if "\udc80" <= c <= "\udcff":  # a byte that is not UTF-8, from os.fsdecode
        return f"\\x{ord(c) - 0xDC00:02x}"
    return c.encode("unicode_escape").decode("ascii")
