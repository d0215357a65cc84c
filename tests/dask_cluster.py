"""A Dask cluster on this machine, started by Dask's command line, and tasks for its workers."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from insight.errors import InsightError

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 120  # for a process to start, on a busy machine
QUIET = "--no-dashboard"


def environment(**more) -> dict:
    """For a process that imports what this one does, and the tasks below."""
    paths = [str(ROOT), str(ROOT / "tests"), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", **more}


class DaskCluster:
    """A scheduler; workers are started one by one, each a process of one thread."""

    def __init__(self, folder: Path, **variables):
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.workers = []
        self._started = 0
        arguments = ["scheduler", "--port", "0", "--scheduler-file", str(self.file), QUIET]
        self.scheduler, _ = self._start(arguments, **variables)
        _wait_for(self.file.exists)

    def worker(self, *options, prefix=(), **variables) -> subprocess.Popen:
        """Start a worker; returns when it has joined.

        ``prefix`` is put before the command, ``variables`` into its environment.
        """
        arguments = ["worker", "--scheduler-file", str(self.file), "--nthreads", "1", "--no-nanny", QUIET]
        process, log = self._start([*arguments, "--local-directory", str(self.folder), *options], prefix, **variables)
        self.workers.append(process)
        _wait_for(lambda: "Starting established connection" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        return process

    def keep(self, count: int) -> None:
        """Kill workers, or start some, so that so many are running."""
        running = [worker for worker in self.workers if worker.poll() is None]
        for worker in running[count:]:
            worker.kill()
            worker.wait()
        for _ in range(count - len(running)):
            self.worker()
        self.workers = [worker for worker in self.workers if worker.poll() is None]

    def close(self) -> None:
        for process in [*self.workers, self.scheduler]:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def _start(self, arguments, prefix=(), **variables):
        log = self.folder / f"{self._started}.log"
        self._started += 1
        with open(log, "wb") as out:
            command = [*prefix, sys.executable, "-m", "dask", *arguments]
            process = subprocess.Popen(command, stdout=out, stderr=out, cwd="/", env=environment(**variables))
        return process, log


def _wait_for(condition) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "a process of the cluster does not start"
        time.sleep(0.05)


@contextmanager
def dask_cluster(folder: Path, workers: int = 2, **variables):
    """A cluster with so many workers; ends with the block."""
    cluster = DaskCluster(folder, **variables)
    try:
        cluster.keep(workers)
        yield cluster
    finally:
        cluster.close()


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
