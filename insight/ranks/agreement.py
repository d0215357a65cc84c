"""Comparison of the options, data and versions of all ranks, before anything is written."""

from __future__ import annotations

from typing import Any, Dict

from ..errors import InsightError
from .group import Ranks


def agree(ranks: Ranks, abouts: Dict[str, Dict[str, Any]]) -> None:
    """Raise an error if the ranks were not started for the same run.

    Parameters
    ----------
    ranks : Ranks
    abouts : dict of str to dict
        Maps a remedy (what to do about a difference) to the values that it applies to: names and this rank's values,
        JSON-serialisable.

    Raises
    ------
    InsightError
        Two ranks differ. Raised on every rank, with the first difference: its name, both values, and the remedy.
    """
    everyones = ranks.objects("start", abouts)
    for remedy, values in everyones[0].items():
        for name, first in values.items():
            for rank, other in enumerate(everyones):
                value = other.get(remedy, {}).get(name)
                if value != first:
                    raise InsightError(
                        f"{name}: rank 0{_at(ranks, 0)} has {_shown(first)}, rank {rank}{_at(ranks, rank)} has "
                        f"{_shown(value)}; {remedy}"
                    )


def _at(ranks: Ranks, rank: int) -> str:
    return f" ({ranks.hosts[rank]})" if ranks.hosts[rank] else ""


def _shown(value: Any) -> str:
    return "nothing" if value in (None, "") else str(value)
