"""What a worker of a Dask cluster does for :mod:`insight.executor.dask`.

A task comes with every item, as bytes, and is unpickled and prepared with the first of them.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import pickle
import stat
import threading
import time
from collections import OrderedDict
from typing import Any, Callable, Dict, NamedTuple, Sequence

from .. import __version__
from ..errors import InsightError
from .pool import SHARED, pickled_answer, tell_wanted

NAMES = 3  # of a folder, that the workers must see in it: where nothing is mounted, it is empty
KEPT = 4  # runs whose task a worker keeps


class Sight(NamedTuple):
    """What is seen at a path: the size of a file, -1 for a folder; names in the folder, by which it is recognised."""

    path: str
    size: int
    names: Sequence[str]


def sight_of(path: str) -> Sight:
    """What is at a path here; the path becomes absolute."""
    path = os.path.abspath(path)
    seen = os.stat(path)
    if not stat.S_ISDIR(seen.st_mode):
        return Sight(path, seen.st_size, [])
    with os.scandir(path) as entries:
        names = (entry.name for entry in entries if entry.name[0] != ".")  # others may be temporary
        return Sight(path, -1, list(itertools.islice(names, NAMES)))


_OPENED: Dict[str, Callable[[Any], Any]] = OrderedDict()  # tasks by the token of their run
_OPENING = threading.Lock()


def answer(token: str, job: bytes, item: bytes) -> bytes:
    """Do the task of a run for one item."""
    tell_wanted(_wanted())
    return pickled_answer(lambda data: _task_of(token, job)(pickle.loads(data)), item)


def _task_of(token: str, job: bytes) -> Callable[[Any], Any]:
    task = _OPENED.get(token)
    if task is None:
        with _OPENING:
            task = _OPENED.get(token)
            if task is None:
                task = _OPENED[token] = _open(job)
                while len(_OPENED) > KEPT:
                    _OPENED.pop(next(iter(_OPENED)))
    return task


def _open(job: bytes) -> Callable[[Any], Any]:
    """Unpickle a task and prepare it."""
    wanted, sights, patience, work = pickle.loads(job)
    here = _address()
    if wanted != __version__:
        raise InsightError(of_another_version(here, __version__, wanted))
    problem = unseen(sights, patience)
    if problem:
        raise InsightError(f"worker {here}: {problem}")
    try:
        task, prepare = pickle.loads(work)
        prepare()
    except InsightError as error:
        raise InsightError(f"worker {here}: {error}") from None
    return task


def _is_seen(sight: Sight) -> bool:
    """Whether the same is here at the path. Raises OSError where a path is not there."""
    here = os.stat(sight.path)
    for name in sight.names:
        os.lstat(os.path.join(sight.path, name))
    return sight.size == (-1 if stat.S_ISDIR(here.st_mode) else here.st_size)


async def look(sights: Sequence[tuple], patience: float) -> str:
    """:func:`unseen` beside the worker's event loop."""
    return await asyncio.to_thread(unseen, sights, patience)


def unseen(sights: Sequence[tuple], patience: float) -> str:
    """What is wrong with the first path that is not seen as it should be, for so many seconds; empty if none is."""
    deadline = time.monotonic() + patience
    for sight in itertools.starmap(Sight, sights):
        while True:
            try:
                if _is_seen(sight):
                    break
                what = "sees another file than this machine at"
            except OSError:
                what = "does not see"
            if time.monotonic() > deadline:
                return f"{what} {sight.path}; {SHARED}"
            time.sleep(0.2)
    return ""


def forget(token: str) -> None:
    """Let go of a task, and what it has opened."""
    _OPENED.pop(token, None)


def _address() -> str:
    from distributed import get_worker

    return get_worker().address


def _wanted() -> Callable[[], bool]:
    """Whether the task that the calling thread begins has not been cancelled."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state != "cancelled"

    return wanted


def of_another_version(worker: str, has: str, wanted: str) -> str:
    """The message about a worker whose version differs from the run's."""
    return f"worker {worker}: has insight {has}, and this run is of {wanted}; install the same version for all workers"


def version() -> str:
    """The version of insight here."""
    return __version__
