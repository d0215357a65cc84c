"""The journal of ranks that do not log."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator


class QuietJournal:
    """Has the interface of :class:`insight.runs.journal.Journal`, but writes nothing."""

    def __init__(self, *_: Any) -> None:
        pass

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Do nothing before and after the block."""
        yield

    def state(self) -> dict:
        """Return an empty state, since the rank that logs saves the state."""
        return {}

    def _ignore(self, *_: Any, **__: Any) -> None:
        pass

    close = write = say = step = verified = log_histograms = mined = _ignore
    damaged = damage_in_all = restart_clock = restore = _ignore
