"""Progress of long work: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Iterable, Iterator, Optional, TypeVar

T = TypeVar("T")

PLAIN_SECONDS = 10.0  # between two plain lines, when stderr is no terminal


def track(items: Iterable[T], what: str, total: Optional[int] = None, unit: str = "") -> Iterator[T]:
    """Yield the items and show on stderr how far the work is.

    Parameters
    ----------
    items : iterable
    what : str
        The work, as a person would say it: ``packing``.
    total : int, optional
        How many there will be; ``len(items)`` where that works.
    unit : str
        What is counted: ``images``.
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    draw = _bar if sys.stderr.isatty() else _lines
    yield from draw(items, what, total, unit)


def _bar(items: Iterable[T], what: str, total: Optional[int], unit: str) -> Iterator[T]:
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
        for done, item in enumerate(items, 1):
            yield item
            rate = done / max(time.monotonic() - start, 1e-9)
            progress.update(task, completed=done, rate=f"{rate:,.0f} {unit}/s".replace(" /s", "/s"))


def _lines(items: Iterable[T], what: str, total: Optional[int], unit: str) -> Iterator[T]:
    start = said = time.monotonic()
    of = f" of {total}" if total else ""
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - said >= PLAIN_SECONDS:
            said = now
            rate = done / (now - start)
            left = f", {(total - done) / rate:.0f} s left" if total and rate else ""
            print(f"{what}: {done}{of} {unit}, {rate:.0f}/s{left}", file=sys.stderr, flush=True)
