"""Progress of long work: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Optional, TypeVar

T = TypeVar("T")

PLAIN_SECONDS = 10.0  # between two plain lines, if stderr is not a terminal
BAR_SECONDS = 0.25  # between two updates of a bar of steps


def warn(text: str) -> None:
    """Print a warning on stderr."""
    print(f"warning: {text}", file=sys.stderr, flush=True)


def _one(item: Any) -> int:
    return 1


class Pace(NamedTuple):
    """Speed in other units than the counted ones.

    Attributes
    ----------
    unit : str
        ``faces``.
    count : callable
        Number of these in an item.
    worked : callable
        Whether an item took time; others, which an earlier run had done, do not count for speed and time left.
    """

    unit: str
    count: Callable[[Any], int]
    worked: Callable[[Any], bool]


class _Meter:
    """Counts units, and measures speed and time left."""

    def __init__(self, total: Optional[int], unit: str, size: Callable[[Any], int], pace: Optional[Pace]):
        self.done = 0
        self._total = total
        self._size = size
        self._pace = pace or Pace(unit, size, lambda item: True)
        self._worked = self._counted = 0
        self._start = time.monotonic()

    def add(self, item: Any) -> None:
        size = self._size(item)
        self.done += size
        if self._pace.worked(item):
            self._worked += size
            self._counted += self._pace.count(item)

    def rate(self) -> str:
        return f"{self._counted / self._seconds():,.0f} {self._pace.unit}/s".replace(" /s", "/s")

    def left(self) -> Optional[float]:
        """Seconds; None if they are not known."""
        if not self._total or not self._worked:
            return None
        return max(0, self._total - self.done) * self._seconds() / self._worked

    def _seconds(self) -> float:
        return max(time.monotonic() - self._start, 1e-9)


def track(
    items: Iterable[T],
    what: str,
    total: Optional[int] = None,
    unit: str = "",
    size: Callable[[T], int] = _one,
    pace: Optional[Pace] = None,
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
    pace : Pace, optional
        Other units for the speed; default: the counted ones.
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    draw = _bar if sys.stderr.isatty() else _lines
    yield from draw(items, what, total, unit, _Meter(total, unit, size, pace))


def _bar(items: Iterable[T], what: str, total: Optional[int], unit: str, meter: _Meter) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total, rate="")
        for item in items:
            yield item
            meter.add(item)
            progress.update(task, completed=meter.done, rate=meter.rate())


def _lines(items: Iterable[T], what: str, total: Optional[int], unit: str, meter: _Meter) -> Iterator[T]:
    printed = time.monotonic()
    of = f" of {total}" if total else ""
    for item in items:
        yield item
        meter.add(item)
        now = time.monotonic()
        if now - printed >= PLAIN_SECONDS:
            printed = now
            left = meter.left()
            left_text = "" if left is None else f", {left:.0f} s left"
            print(f"{what}: {meter.done}{of} {unit}, {meter.rate()}{left_text}", file=sys.stderr, flush=True)


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
