"""Where each rank stands, and which of them the others wait for."""

from __future__ import annotations

import time
from typing import Dict, List, NamedTuple, Optional


class Standing(NamedTuple):
    """What a rank is doing.

    Attributes
    ----------
    name : str
        Of the operation that it waits in; empty: it is between two.
    number : int
        How many it has begun, this one included.
    since : float
        When it began or left the operation, as :func:`time.monotonic` counts.
    """

    name: str = ""
    number: int = 0
    since: float = 0.0

    @property
    def seconds(self) -> float:
        """For how long."""
        return time.monotonic() - self.since if self.since else 0.0


class Stall(NamedTuple):
    """Ranks that wait for another one.

    Attributes
    ----------
    line : str
        For people.
    rank : int
        That is waited for, the first of them.
    operation : str
    number : int
        Of the operation.
    seconds : float
        That the lowest rank in it has waited.
    """

    line: str
    rank: int
    operation: str
    number: int
    seconds: float


def stall(standings: Dict[int, Standing], hosts: List[str], least: float) -> Optional[Stall]:
    """The operation that a rank has waited in for ``least`` seconds and that others have not come to; None: none.

    Ranks that are in one operation of the same number but of different names never meet; the line says so.
    """
    waiting = {rank: one for rank, one in standings.items() if one.name and one.seconds >= least}
    if not waiting:
        return None
    first = max(waiting.items(), key=lambda item: (item[1].number, -item[0]))[1]
    late = sorted(rank for rank, one in standings.items() if (one.number, one.name) != (first.number, first.name))
    if not late:
        return None  # all are in it: it takes long
    rank = late[0]
    elsewhere = standings[rank]
    doing = f"is in {elsewhere.name}" if elsewhere.name else "is at work between two operations"
    others = f", and {len(late) - 1} others have not" if len(late) > 1 else ""
    line = (
        f"the ranks have waited in {first.name} for {first.seconds:.0f} s: rank {rank} ({hosts[rank]}) has not come to "
        f"it{others}; it {doing} since {elsewhere.seconds:.0f} s"
    )
    return Stall(line, rank, first.name, first.number, first.seconds)
