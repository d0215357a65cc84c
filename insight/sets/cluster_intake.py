"""The images of lists, read, checked and converted by the workers of a cluster.

A task is a run of a list: the worker reads the files, and gives back the bytes of every image, for the writer of the
set. What becomes of an image depends on its file and the target only, so the set is the same as with
:class:`insight.sets.intake.Intake`.
"""

from __future__ import annotations

import os
import platform
from collections import deque
from itertools import islice
from typing import Deque, Iterable, Iterator, List, NamedTuple, Optional

from ..errors import InsightError, printable
from ..executor import Cluster, Workers
from ..executor.pool import SHARED
from ..files.places import Places
from ..files.reading import MISSING, REFUSED
from ..formats.lst import Entry
from .chunk import Chunk
from .intake import prepare_all
from .prepare import DECODE, ImageTarget, Outcome, Skip

RUN = 128  # images of a task


class PreparedRun(NamedTuple):
    """Outcomes of a run, and the host of the worker."""

    outcomes: List[Outcome]
    host: str


class PrepareTask:
    """What a worker does with a run of a list; see :func:`insight.sets.intake.prepare_all` for the parameters."""

    def __init__(self, target: ImageTarget, places: Places, check: str):
        self._target = target
        self._places = places.absolute()
        self._check = check

    def __call__(self, entries: List[Entry]) -> PreparedRun:
        prepared = prepare_all(entries, self._target, self._places, check=self._check)
        return PreparedRun([outcome for _, outcome in prepared], platform.node())


class ClusterIntake:
    """As :class:`insight.sets.intake.Intake`."""

    def __init__(self, target: ImageTarget, cluster: Cluster, check: str = DECODE):
        self._target = target
        self._cluster = cluster
        self._check = check

    def __enter__(self) -> ClusterIntake:
        return self

    def __exit__(self, kind, error, trace) -> None:
        """Nothing is open between two lists."""

    def chunks(self, entries: Iterable[Entry], places: Optional[Places] = None) -> Iterator[Chunk]:
        """As :meth:`insight.sets.intake.Intake.chunks`."""
        places = places or Places()
        waiting: Deque[List[Entry]] = deque()
        with Workers(PrepareTask(self._target, places, self._check), self._cluster) as pool:
            for prepared in pool.in_order(_runs(iter(entries), waiting)):
                run = waiting.popleft()
                for entry, outcome in zip(run, prepared.outcomes):
                    _check_seen(entry, outcome, places, prepared.host)
                yield Chunk.of(run, prepared.outcomes)


def _check_seen(entry: Entry, outcome: Outcome, places: Places, host: str) -> None:
    """Raise InsightError for a file that only the worker could not read: it would be skipped."""
    if isinstance(outcome, Skip) and str(outcome).startswith((MISSING, REFUSED)):
        path = next((path for path in places.paths(entry.path) if os.access(path, os.R_OK)), None)
        if path is not None:
            raise InsightError(f"a worker on {host} cannot read {printable(os.path.abspath(path))}; {SHARED}")


def _runs(source: Iterator[Entry], runs: Deque[List[Entry]]) -> Iterator[List[Entry]]:
    """Cut a list into runs; each is put into ``runs``, too."""
    while True:
        run = list(islice(source, RUN))
        if not run:
            return
        runs.append(run)
        yield run
