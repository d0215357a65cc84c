"""Dask clusters on this machine, started by Dask's command line, and tasks for their workers.

Processes are forked off one that has loaded Dask, which takes most of the time that they need to start.
"""

import ctypes
import importlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from insight.errors import InsightError

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 120  # for a process to start, on a busy machine
JOINED = "Starting established connection"  # in the log of a worker
PR_SET_PDEATHSIG, CLONE_NEWNS = 1, 0x20000

IDLE = {  # less work of processes that have nothing to do
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "1s",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__WORKER__MEMORY__MONITOR_INTERVAL": "1s",
}

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["distributed.cli.dask_scheduler", "distributed.cli.dask_worker", "insight.executor.dask_worker"]
)


def environment(**more) -> dict:
    """For a process that imports what this one does, and the tasks below."""
    paths = [str(ROOT), str(ROOT / "tests"), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", **IDLE, **more}


class DaskCluster:
    """A scheduler; workers are started one by one, each a process of one thread.

    Parameters
    ----------
    folder : Path
        For the scheduler's file, logs, and what workers write.
    fresh : bool
        Start new interpreters with ``python -m dask``, as a user does.
    variables : str
        Of the scheduler's environment.
    """

    def __init__(self, folder: Path, fresh: bool = False, **variables):
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.workers = []
        self._fresh = fresh
        self._started = 0
        self.scheduler, _ = self._start("scheduler", "--port", "0", **variables)
        wait_for(self.file.exists)

    def worker(self, setup=None) -> multiprocessing.Process:
        """Start a worker, and call ``setup`` in its process before; returns when it has joined."""
        local = ["--local-directory", str(self.folder)]
        process, log = self._start("worker", "--nthreads", "1", "--no-nanny", *local, setup=setup)
        self.workers.append(process)
        wait_for(lambda: JOINED in log.read_text() or not process.is_alive())
        assert process.is_alive(), log.read_text()
        return process

    @contextmanager
    def another_worker(self, setup=None):
        """A worker that ends with the block."""
        worker = self.worker(setup)
        try:
            yield worker
        finally:
            _kill(worker)
            self.workers.remove(worker)

    def keep(self, count: int) -> None:
        """Kill workers, or start some, so that so many are running."""
        alive = [worker for worker in self.workers if worker.is_alive()]
        for worker in alive[count:]:
            _kill(worker)
        self.workers = alive[:count]
        while len(self.workers) < count:
            self.worker()

    def close(self) -> None:
        for process in [*self.workers, self.scheduler]:
            _kill(process)

    def _start(self, *arguments, setup=None, **variables):
        log = self.folder / f"{self._started}.log"
        log.touch()
        self._started += 1
        fresh = self._fresh and setup is None  # which a new interpreter would not have
        words = ["dask", *arguments, "--scheduler-file", str(self.file), "--no-dashboard"]
        process = FORKS.Process(target=_run, args=(words, log, environment(**variables), setup, fresh))
        process.daemon = True
        process.start()
        return process, log


def dask_config():
    """Dask's settings. Of the two packages, setup.py declares the one that insight imports."""
    return importlib.import_module("dask").config


def _run(words, log, variables, setup, fresh) -> None:
    """Become a process of a cluster, which ends with the process of the tests, whatever ends that."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.chdir("/")
    os.environ.update(variables)
    with open(log, "wb") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    if fresh:
        os.execv(sys.executable, [sys.executable, "-m", *words])
    dask_config().refresh()  # the variables
    if setup is not None:
        setup()
    sys.argv = words
    runpy.run_module("dask", run_name="__main__")


def _kill(process) -> None:
    process.kill()
    process.join()


def wait_for(condition) -> None:
    """Return when it holds."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "a process of the cluster does not come that far"
        time.sleep(0.05)


@contextmanager
def dask_cluster(folder: Path, workers: int = 2, fresh: bool = False, **variables):
    """A cluster with so many workers; ends with the block."""
    cluster = DaskCluster(folder, fresh, **variables)
    try:
        cluster.keep(workers)
        yield cluster
    finally:
        cluster.close()


# ------------------------------------------------------------------------- setups of workers


def without_insight() -> None:
    """Let the worker's imports of insight fail."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "insight"]:
        del sys.modules[name]
    sys.modules["insight"] = None


def hide(*folders) -> None:
    """Mount nothing over folders: for this process, they are empty."""
    if ctypes.CDLL(None).unshare(CLONE_NEWNS):
        raise OSError("may not make a mount namespace")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    for folder in folders:
        subprocess.run(["mount", "-t", "tmpfs", "none", str(folder)], check=True)


def die_with_the_first_task(folder: Path) -> None:
    """Let the worker kill itself when it has done a task of insight, before it gives the result away.

    It writes ``done`` into the folder, and waits for ``go``.
    """
    from insight.executor import dask_worker

    dask_worker.pickled_answer = partial(_dying, dask_worker.pickled_answer, folder)


def _dying(whole, folder, task, item):
    whole(task, item)
    (folder / "done").touch()
    wait_for((folder / "go").exists)
    os.kill(os.getpid(), signal.SIGKILL)


# ------------------------------------------------------------------------- tasks


def square(i):
    time.sleep(0.002 * (i % 3))
    return i * i


def process_of(i):
    time.sleep(0.05)
    return os.getpid()


def fail_at_five(i):
    if i == 5:
        time.sleep(0.2)
        raise InsightError("five")
    if i == 7:
        raise ValueError("seven")
    return i


class Local(Exception):
    """An error that does not go through a pipe."""

    def __reduce__(self):
        raise TypeError


def fail_locally(i):
    raise Local("of a class that only the worker has")


def lack_a_package(i):
    __import__("no_such_package")


def double(data):
    return data * 2


class Opening:
    """A task that must be opened; notes in a file which process has done it."""

    def __init__(self, path):
        self.path = path
        self.opened = False

    def open(self):
        with open(self.path, "a") as out:
            out.write(f"{os.getpid()}\n")
        self.opened = True

    def __call__(self, i):
        assert self.opened
        time.sleep(0.05)
        return i


class OpeningFails(Opening):
    def open(self):
        raise InsightError("cannot load")


class EndsItsWorker:
    """Kills the worker that comes first to item ``at``; ``always``, every one."""

    def __init__(self, folder, at=5, always=False):
        self.folder = folder
        self.at = at
        self.always = always

    def __call__(self, i):
        mark = Path(self.folder, "killed")
        if i == self.at and (self.always or not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.01)
        return i


class Slow:
    """Takes half a second, in steps; notes what has begun and what has ended."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, i):
        from insight.executor.pool import stop_if_unwanted

        Path(self.folder, f"begun {i}").touch()
        for _ in range(10):
            time.sleep(0.05)
            stop_if_unwanted()
        Path(self.folder, f"ended {i}").touch()
        return i
