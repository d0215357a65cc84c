"""Figures of a training step: their valid names, and their means over several steps.

An objective can give its figures all names that :func:`check_names` accepts. The names in :data:`CLASSIFICATION` have
special positions in InsightFace's lines, TensorBoard and plots.
"""

from __future__ import annotations

import re
from typing import Dict, Iterable, List, Mapping, NamedTuple, Sequence

from ..errors import InsightError

CLASSIFICATION = ("loss", "acc", "acc_free")  # loss, accuracy with the margin, accuracy without
COLUMNS = ("lr", "speed", "wait", "cpu")  # values of a logged step that are not figures of the objective
_TAKEN = {
    *("kind", "time", "step", "epoch", *COLUMNS, "skipped"),  # keys of a row of the JSONL
    *("run", "saved"),  # columns of plot-log's CSV
    *("acc-nomargin", "acc_nomargin", "lossvalue", "Train-acc"),  # other names of acc_free, loss and acc
}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


class Histogram(NamedTuple):
    """A figure that is logged as a distribution: counts in equal bins from ``low`` to ``high``.

    Counts are summed over the steps, and logged at the next verification.
    """

    low: float
    high: float
    counts: List[int]

    def plus(self, other: Histogram) -> Histogram:
        """Return the sum of two histograms, which must have the same bins."""
        return self._replace(counts=[mine + theirs for mine, theirs in zip(self.counts, other.counts)])


def is_name(name: str) -> bool:
    """Whether a figure can have this name: letters, digits, ``_`` and ``-``, a letter first, and not reserved."""
    return name not in _TAKEN and _NAME.fullmatch(name) is not None


def check_names(names: Iterable[str]) -> None:
    """Check the names of an objective's figures.

    Raises
    ------
    InsightError
        :func:`is_name` is false for a name.
    """
    for name in names:
        if not is_name(name):
            reason = "used for something else in the logs" if name in _TAKEN else "not a name that a log can hold"
            raise InsightError(
                f"figure {name!r} of the objective: {reason}; want another name of letters, digits, _ and -, "
                "a letter first"
            )


def means(steps: Sequence[Mapping[str, float]]) -> Dict[str, float]:
    """Return the mean of each figure over the steps that have it, in order of first appearance.

    Values are added from left to right, because the rounding of the built-in ``sum`` depends on the Python version.
    """
    totals: Dict[str, float] = {}
    counts: Dict[str, int] = {}
    for figures in steps:
        for name, value in figures.items():
            totals[name] = totals.get(name, 0.0) + value
            counts[name] = counts.get(name, 0) + 1
    return {name: total / counts[name] for name, total in totals.items()}
