"""Figures of a training step by their names: which names a log can hold, and their means over several steps.

An objective names its figures as it likes, within :func:`check_names`. Three names have a place of their own in
InsightFace's lines, TensorBoard and pictures: :data:`CLASSIFICATION`.
"""

from __future__ import annotations

import re
from typing import Dict, Iterable, List, Mapping, NamedTuple, Sequence

from ..errors import InsightError

CLASSIFICATION = ("loss", "acc", "acc_free")  # loss, accuracy with the margin, accuracy without
COLUMNS = ("lr", "speed", "wait", "cpu")  # of a logged step, beside its figures
_TAKEN = {
    *("kind", "time", "step", "epoch", *COLUMNS, "skipped"),  # keys of a row of the JSONL
    *("run", "saved"),  # columns of plot-log's CSV
    *("acc-nomargin", "acc_nomargin", "lossvalue", "Train-acc"),  # acc_free, loss and acc under other names
}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


class Histogram(NamedTuple):
    """A figure of which the log has the distribution: counts of equal bins from ``low`` to ``high``.

    The counts of all steps are added up, and logged at the next verification.
    """

    low: float
    high: float
    counts: List[int]

    def plus(self, other: Histogram) -> Histogram:
        """The counts of both, which have the same bins."""
        return self._replace(counts=[mine + theirs for mine, theirs in zip(self.counts, other.counts)])


def is_name(name: str) -> bool:
    """Whether a figure can have this name: letters, digits, ``_`` and ``-``, not used for anything else in a log."""
    return name not in _TAKEN and _NAME.fullmatch(name) is not None


def check_names(names: Iterable[str]) -> None:
    """Check the names of an objective's figures.

    Raises
    ------
    InsightError
        For the first name that :func:`is_name` refuses.
    """
    for name in names:
        if not is_name(name):
            reason = "used for something else in the logs" if name in _TAKEN else "not a name that a log can hold"
            raise InsightError(
                f"figure {name!r} of the objective: {reason}; want another name of letters, digits, _ and -, "
                "a letter first"
            )


def means(steps: Sequence[Mapping[str, float]]) -> Dict[str, float]:
    """The mean of each figure over the steps that have it, in order of first appearance.

    Sums run from left to right: the rounding of the built-in ``sum`` depends on Python's version.
    """
    totals: Dict[str, float] = {}
    counts: Dict[str, int] = {}
    for figures in steps:
        for name, value in figures.items():
            totals[name] = totals.get(name, 0.0) + value
            counts[name] = counts.get(name, 0) + 1
    return {name: total / counts[name] for name, total in totals.items()}
