"""Functions that the workers of a Dask cluster run for :mod:`insight.executor.dask`.

Every item is sent with the pickled task. A worker unpickles and prepares the task for the first item only.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import itertools
import os
import pickle
import stat
import threading
import time
from collections import OrderedDict
from functools import partial
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence

from .. import __version__
from ..errors import InsightError
from .pool import SHARED, bind_wanted, pickled_answer

NAMES = 3  # number of files in a folder that workers must see too: the folder is empty if nothing is mounted there
KEPT = 4  # maximum number of runs whose tasks a worker keeps
_RETRY_SECONDS = 0.2  # interval between checks of a path


class PathState(NamedTuple):
    """The state of a path: size of the file in bytes, -1 for a folder, and some of the names in the folder."""

    path: str
    size: int
    names: Sequence[str]


def state_of(path: str) -> PathState:
    """Return the state of a path on this machine, with the absolute path."""
    path = os.path.abspath(path)
    status = os.stat(path)
    if not stat.S_ISDIR(status.st_mode):
        return PathState(path, status.st_size, [])
    with os.scandir(path) as entries:
        names = (entry.name for entry in entries if entry.name[0] != ".")  # hidden files may be temporary
        return PathState(path, -1, list(itertools.islice(names, NAMES)))


_TASKS: Dict[str, Callable[[Any], Any]] = OrderedDict()  # prepared tasks by the token of their run
_OPENING = threading.Lock()


def answer(token: str, job: bytes, item: bytes) -> bytes:
    """Run the task of a run for one item; return the pickled result.

    Parameters
    ----------
    token : str
        Identifier of the run.
    job : bytes
        Pickle of the version of insight, the states of paths, the timeout for them in seconds, and the pickle of the
        task and its ``prepare``. The task is pickled separately, because another version of insight may not be able
        to unpickle it.
    item : bytes
        Pickle of the item.
    """
    bind_wanted(_wanted())
    return pickled_answer(partial(_do, token, job), item)


def _do(token: str, job: bytes, item: bytes) -> Any:
    try:
        return _task_of(token, job)(pickle.loads(item))
    except ImportError as error:
        raise InsightError(
            f"worker {_address()}: {error}; install insight with the same extras for all workers"
        ) from error


def _task_of(token: str, job: bytes) -> Callable[[Any], Any]:
    task = _TASKS.get(token)
    if task is None:
        with _OPENING:
            task = _TASKS.get(token)
            if task is None:
                task = _TASKS[token] = _open(job)
                while len(_TASKS) > KEPT:
                    _TASKS.pop(next(iter(_TASKS)))
    return task


def _open(job: bytes) -> Callable[[Any], Any]:
    """Check the version and the paths of a run, then unpickle its task and prepare it."""
    version_of_run, states, patience, work = pickle.loads(job)
    here = _address()
    if version_of_run != __version__:
        raise InsightError(other_version(here, __version__, version_of_run))
    problem = path_problem(states, patience)
    if problem:
        raise InsightError(f"worker {here}: {problem}")
    try:
        task, prepare = pickle.loads(work)
        prepare()
    except InsightError as error:
        raise InsightError(f"worker {here}: {error}") from None
    return task


def forget(token: str) -> None:
    """Drop the task of a run, and with it the files that it has opened."""
    _TASKS.pop(token, None)


async def check_paths(states: Sequence[tuple], patience: float) -> str:
    """Run :func:`path_problem` in a thread, so that it does not block the worker's event loop."""
    return await asyncio.to_thread(path_problem, states, patience)


def path_problem(states: Sequence[tuple], patience: float) -> str:
    """Describe the first path whose state on this machine differs from the given one; "" if there is none.

    Parameters
    ----------
    states : sequence of tuple
        Fields of :class:`PathState`.
    patience : float
        Seconds to wait for the states, since network file systems show new files with a delay.
    """
    deadline = time.monotonic() + patience
    for state in itertools.starmap(PathState, states):
        while True:
            try:
                if _is_same(state):
                    break
                what = "sees another file than this machine at"
            except OSError:
                what = "does not see"
            if time.monotonic() > deadline:
                return f"{what} {state.path}; {SHARED}"
            time.sleep(_RETRY_SECONDS)
    return ""


def _is_same(state: PathState) -> bool:
    """Whether the path has the same state here. Raises OSError if the path, or a name in it, is missing."""
    status = os.stat(state.path)
    for name in state.names:
        os.lstat(os.path.join(state.path, name))
    return state.size == (-1 if stat.S_ISDIR(status.st_mode) else status.st_size)


def _address() -> str:
    from distributed import get_worker

    return get_worker().address


def _wanted() -> Callable[[], bool]:
    """Return a function that tells whether the current task of the calling thread has not been cancelled."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state != "cancelled"

    return wanted


def version() -> str:
    """Return the version of insight in this process."""
    return __version__


def installed(packages: Sequence[str]) -> Dict[str, Optional[str]]:
    """Return the versions of packages by their distribution names; None for those that are not installed.

    ``get_versions`` of older Dask releases imports packages by name, and there is no module ``opencv-python``.
    """
    versions: Dict[str, Optional[str]] = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def other_version(worker: str, has: str, of_run: str) -> str:
    """Return the message about a worker whose version of insight differs from the run's."""
    return f"worker {worker}: has insight {has}, and this run is of {of_run}; install the same version for all workers"
