"""Figures of a training step by their names: which names a log can hold, and their mean over several steps.

An objective gives a figure any name that :func:`check_names` accepts. Three names are older than objectives, and logs,
TensorBoard and pictures treat them as they always did: ``loss``, ``acc`` (accuracy with the margin) and ``acc_free``
(accuracy without).
"""

from __future__ import annotations

import re
from typing import Dict, Iterable, Mapping, Sequence

COLUMNS = ("lr", "speed", "wait", "cpu")  # of a logged step, beside its figures
_TAKEN = {
    *("kind", "time", "step", "epoch", *COLUMNS, "skipped"),  # keys of a JSONL row
    *("run", "saved"),  # columns of plot-log's CSV
    *("acc-nomargin", "acc_nomargin", "lossvalue", "Train-acc"),  # other names of acc_free, loss and acc
}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def is_name(name: str) -> bool:
    """Whether a figure may have this name: letters, digits, ``_`` and ``-``, and no name of something else in a log."""
    return name not in _TAKEN and _NAME.fullmatch(name) is not None


def check_names(names: Iterable[str]) -> None:
    """Raise ValueError for the first name that :func:`is_name` refuses."""
    for name in names:
        if not is_name(name):
            rule = "is taken by something else in the logs" if name in _TAKEN else "is no name of a figure"
            raise ValueError(f"figure {name!r}: {rule}; want letters, digits, _ and -, beginning with a letter")


def means(steps: Sequence[Mapping[str, float]]) -> Dict[str, float]:
    """Mean of each figure over the steps that have it, in the order of their first appearance.

    Sums run from left to right: the rounding of the built-in ``sum`` depends on Python's version.
    """
    totals: Dict[str, float] = {}
    counts: Dict[str, int] = {}
    for figures in steps:
        for name, value in figures.items():
            totals[name] = totals.get(name, 0.0) + value
            counts[name] = counts.get(name, 0) + 1
    return {name: total / counts[name] for name, total in totals.items()}
