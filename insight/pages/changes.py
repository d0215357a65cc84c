"""The part of a target's section that compares the model with an earlier one."""

from __future__ import annotations

from typing import List, NamedTuple

from ..verify import lines
from ..verify.change import FigureChange, changes
from ..verify.figures import Figures
from ..verify.verification import Verification

CHANGE_COLUMNS = ("before", "after", "difference", "95 % interval", "verdict")


class Evaluated(NamedTuple):
    """The result of a model on one set, and its metrics."""

    result: Verification
    figures: Figures


class ChangeRow(NamedTuple):
    """A metric, and its fields in the order of :data:`CHANGE_COLUMNS`."""

    figure: str
    cells: List[str]


class ChangeSection(NamedTuple):
    """The comparison on one target: a summary, the rows of the table, and a text about how they were measured."""

    summary: str
    rows: List[ChangeRow]
    basis: str


def change_section(name: str, before: Evaluated, after: Evaluated, resamples: int, seed: int) -> ChangeSection:
    """Compare a model with an earlier one, which is shown as ``name``.

    Raises
    ------
    InsightError
        The models were evaluated on different pairs.
    """
    both = (before.result, after.result, before.figures, after.figures)
    rows = changes(*both, resamples, seed)
    accuracy = rows[0]
    summary = (
        f"before, with {name}, accuracy {accuracy.before:.5f}; after {accuracy.after:.5f}; difference "
        f"{accuracy.difference:+.5f}"
    )
    if accuracy.interval:
        summary += f" (95 % interval {_interval(accuracy)}): {_verdict(accuracy)}"
    return ChangeSection(summary, [_row(row) for row in rows], _basis(name, after))


def _row(change: FigureChange) -> ChangeRow:
    name = change.figure if change.far is None else f"TAR at FAR {lines.power(change.far)}"
    values = [f"{change.before:.5f}", f"{change.after:.5f}", f"{change.difference:+.5f}"]
    tested = [_interval(change), _verdict(change)] if change.interval else ["", ""]
    return ChangeRow(name, values + tested)


def _interval(change: FigureChange) -> str:
    return f"{change.interval.low:+.5f} to {change.interval.high:+.5f}"


def _verdict(change: FigureChange) -> str:
    if not change.certain:
        return "no difference that these pairs show"
    return "better" if change.improved else "worse"


def _basis(name: str, after: Evaluated) -> str:
    text = f"Before: {name}. Each model has its own threshold for a FAR."
    intervals = after.figures.intervals
    if not intervals:
        return text
    return (
        f"{text} The intervals are those of the difference, by {intervals.resamples} bootstrap resamples over "
        f"{intervals.over}, each of which evaluates both models."
    )
