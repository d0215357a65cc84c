"""The two ways in which a command ends badly, and nothing else.

Grammar of a message: which file or option, the rule, what was found, what to do.
For example: ``data/train.rec: not a RecordIO file (magic 0x46464952 at offset 0,
want 0xced7230a); give the .rec that face2rec or im2rec wrote``.
"""

from __future__ import annotations


class InsightError(Exception):
    """Bad input or usage. The command line prints ``error: <message>`` and exits with 2."""

    exit_status = 2


class CheckFailed(InsightError):
    """The input was fine and the check that was asked for failed. Exit status 1."""

    exit_status = 1
