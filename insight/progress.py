"""Progress of long work: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, Callable, Iterable, Iterator, Optional, TypeVar

T = TypeVar("T")

PLAIN_SECONDS = 10.0  # between two plain lines, if stderr is not a terminal
BAR_SECONDS = 0.25  # between two updates of a bar of steps


def warn(text: str) -> None:
    """Print a warning on stderr."""
    print(f"warning: {text}", file=sys.stderr, flush=True)


def _one(item: Any) -> int:
    return 1


def track(
    items: Iterable[T], what: str, total: Optional[int] = None, unit: str = "", size: Callable[[T], int] = _one
) -> Iterator[T]:
    """Yield the items and show the progress on stderr.

    Parameters
    ----------
    items : iterable
    what : str
        Name of the work: ``packing``.
    total : int, optional
        Number of units; default: ``len(items)`` if that is known.
    unit : str
        Name of the counted units: ``images``.
    size : callable
        Number of units of an item.
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    draw = _bar if sys.stderr.isatty() else _lines
    yield from draw(items, what, total, unit, size)


def _bar(items: Iterable[T], what: str, total: Optional[int], unit: str, size: Callable[[T], int]) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    start = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total, rate="")
        done = 0
        for item in items:
            yield item
            done += size(item)
            rate = done / max(time.monotonic() - start, 1e-9)
            progress.update(task, completed=done, rate=f"{rate:,.0f} {unit}/s".replace(" /s", "/s"))


def _lines(items: Iterable[T], what: str, total: Optional[int], unit: str, size: Callable[[T], int]) -> Iterator[T]:
    start = printed = time.monotonic()
    of = f" of {total}" if total else ""
    done = 0
    for item in items:
        yield item
        done += size(item)
        now = time.monotonic()
        if now - printed >= PLAIN_SECONDS:
            printed = now
            rate = done / (now - start)
            left = f", {(total - done) / rate:.0f} s left" if total and rate else ""
            print(f"{what}: {done}{of} {unit}, {rate:.0f}/s{left}", file=sys.stderr, flush=True)


class Steps:
    """Progress of a long run of steps that also prints lines: a bar below them on a terminal, otherwise nothing.

    Parameters
    ----------
    what : str
        Name of the work: ``training``.
    total : int
        Total number of steps.
    done : int
        Number of steps before the start, of a resumed run.
    """

    def __init__(self, what: str, total: int, done: int = 0):
        self._what = what
        self._total = total
        self._done = done
        self._start: Optional[float] = None
        self._drawn = 0.0
        self._progress: Any = None
        self._wanted = sys.stderr.isatty()
        # If stdout is a file, its lines do not disturb the bar and must go to the file.
        self._above = sys.stdout.isatty()

    def update(self, done: int, text: str) -> None:
        """Set the number of completed steps, and the text beside the bar."""
        if not self._wanted:
            return
        now = time.monotonic()
        if self._start is None:  # the first step warms up and is not representative
            self._start, self._done = now, done
            self._open()
        elif now - self._drawn < BAR_SECONDS and done < self._total:
            return
        self._drawn = now
        steps = done - self._done
        left = _clock((now - self._start) / steps * (self._total - done)) if steps else ""
        self._progress.update(self._task, completed=done, text=text, left=left, refresh=True)

    def say(self, line: str) -> None:
        """Print a line on stdout."""
        if self._progress and self._above:
            self._progress.console.out(line, highlight=False)
        else:
            print(line, flush=True)

    def log(self, line: str) -> None:
        """Print a line on stderr."""
        if self._progress:
            self._progress.console.out(line, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Remove the bar."""
        if self._progress:
            self._progress.stop()
            self._progress = None
            self._wanted = False

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),  # so that the line fits into 80 characters
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[text]}"),
        )
        # No auto refresh: rich's thread would block the interpreter for the decoding threads.
        self._progress = Progress(
            *columns,
            console=Console(stderr=True),
            auto_refresh=False,
            transient=True,
            redirect_stdout=self._above,
        )
        self._task = self._progress.add_task(self._what, total=self._total, completed=self._done, left="", text="")
        self._progress.start()


def _clock(seconds: float) -> str:
    """``2 days, 3:04:05 left``."""
    from datetime import timedelta  # imported only for long runs

    return f"{timedelta(seconds=round(seconds))} left"
