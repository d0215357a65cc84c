"""Reading, checking and converting the images of a list on the workers of a Dask cluster.

A task is a run of consecutive entries: the worker reads the files and returns the bytes of all images, which the
caller writes. An image's outcome depends only on its file and on the target, so the set is identical to that of
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

RUN = 128  # images per task


class PreparedRun(NamedTuple):
    """The outcomes of a run, and the host name of its worker."""

    outcomes: List[Outcome]
    host: str


class PrepareTask:
    """Prepares a run of entries on a worker; see :func:`insight.sets.intake.prepare_all` for the parameters."""

    def __init__(self, target: ImageTarget, places: Places, check: str):
        self._target = target
        self._places = places.absolute()
        self._check = check

    def __call__(self, entries: List[Entry]) -> PreparedRun:
        prepared = prepare_all(entries, self._target, self._places, check=self._check)
        return PreparedRun([outcome for _, outcome in prepared], platform.node())


class ClusterIntake:
    """Reads lists of images on a cluster, with the interface of :class:`insight.sets.intake.Intake`."""

    def __init__(self, target: ImageTarget, cluster: Cluster, check: str = DECODE):
        self._target = target
        self._cluster = cluster
        self._check = check

    def __enter__(self) -> ClusterIntake:
        return self

    def __exit__(self, kind, error, trace) -> None:
        """Do nothing: each list has a worker pool of its own, which is closed at its end."""

    def chunks(self, entries: Iterable[Entry], places: Optional[Places] = None) -> Iterator[Chunk]:
        """Yield the images of a list in order; see :meth:`insight.sets.intake.Intake.chunks`."""
        places = places or Places()
        waiting: Deque[List[Entry]] = deque()
        with Workers(PrepareTask(self._target, places, self._check), self._cluster) as pool:
            for prepared in pool.in_order(_runs(iter(entries), waiting)):
                run = waiting.popleft()
                for entry, outcome in zip(run, prepared.outcomes):
                    _check_seen(entry, outcome, places, prepared.host)
                yield Chunk.of(run, prepared.outcomes)


def _check_seen(entry: Entry, outcome: Outcome, places: Places, host: str) -> None:
    """Raise InsightError if this host can read a file that the worker could not; it would otherwise be skipped."""
    if isinstance(outcome, Skip) and str(outcome).startswith((MISSING, REFUSED)):
        path = next((path for path in places.paths(entry.path) if os.access(path, os.R_OK)), None)
        if path is not None:
            raise InsightError(f"a worker on {host} cannot read {printable(os.path.abspath(path))}; {SHARED}")


def _runs(source: Iterator[Entry], runs: Deque[List[Entry]]) -> Iterator[List[Entry]]:
    """Split a list into runs; each run is also appended to ``runs``."""
    while True:
        run = list(islice(source, RUN))
        if not run:
            return
        runs.append(run)
        yield run
