"""Current operation of each rank, and detection of the ranks that the others wait for."""

from __future__ import annotations

import time
from typing import Dict, List, NamedTuple, Optional


class Standing(NamedTuple):
    """What a rank is doing.

    Attributes
    ----------
    name : str
        Operation that the rank waits in; empty: it is between two operations.
    number : int
        Number of operations that it has begun, this one included.
    since : float
        When it began the operation, or ended the previous one, by :func:`time.monotonic`.
    """

    name: str = ""
    number: int = 0
    since: float = 0.0

    @property
    def seconds(self) -> float:
        """Seconds since then; 0 before the first operation."""
        return time.monotonic() - self.since if self.since else 0.0


class Stall(NamedTuple):
    """An operation that some ranks wait in and others have not reached.

    Attributes
    ----------
    line : str
        Message for the user.
    rank : int
        The lowest rank that has not reached the operation.
    operation : str
        Name of the operation.
    number : int
        Number of the operation.
    seconds : float
        How long the lowest of the waiting ranks has waited.
    """

    line: str
    rank: int
    operation: str
    number: int
    seconds: float


def stall(standings: Dict[int, Standing], hosts: List[str], least: float) -> Optional[Stall]:
    """Find an operation that a rank has waited in for ``least`` seconds and that others have not reached.

    Ranks that are in operations of the same number but of different names never meet: this is a stall too. Returns
    None if there is no stall.
    """
    waiting = {rank: one for rank, one in standings.items() if one.name and one.seconds >= least}
    if not waiting:
        return None
    first = max(waiting.items(), key=lambda item: (item[1].number, -item[0]))[1]
    late = sorted(rank for rank, one in standings.items() if (one.number, one.name) != (first.number, first.name))
    if not late:
        return None  # all ranks are in it: the operation itself is slow
    rank = late[0]
    elsewhere = standings[rank]
    doing = f"is in {elsewhere.name}" if elsewhere.name else "is at work between two operations"
    others = f", and {len(late) - 1} others have not" if len(late) > 1 else ""
    line = (
        f"the ranks have waited in {first.name} for {first.seconds:.0f} s: rank {rank} ({hosts[rank]}) has not come to "
        f"it{others}; it {doing} since {elsewhere.seconds:.0f} s"
    )
    return Stall(line, rank, first.name, first.number, first.seconds)
