"""The share of its cores that a run gets, and what to do if it is low.

A step is thousands of small parallel regions, each as slow as its slowest thread: if another process uses one core, all
threads wait for the one on that core, so training loses more than the other process takes.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Dict, Iterator, NamedTuple, Optional

from ..machine import usage
from ..machine.cores import cpu_threads

LOW = 0.8  # a lower share is logged
TELLING_SECONDS = 1.0  # the counts of shorter windows are too coarse to name a cause
OTHERS = 0.1  # of the cores, taken by others, or of the time, stopped by the limit: a cause from there on
WAITING = 0.2  # of the time


class CoreShare(NamedTuple):
    """The share of its cores that a process got in a window of time.

    Attributes
    ----------
    share : float, optional
        Processor time as a share of wall time times threads; None if not measured.
    advice : str
        What to do about a low share; empty if there is nothing to do.
    """

    share: Optional[float]
    advice: str

    @property
    def low(self) -> Dict[str, float]:
        """``{"cpu": share}`` if the share is low, else nothing: what a line for people shows."""
        return {"cpu": self.share} if self.share is not None and self.share < LOW else {}


NOT_MEASURED = CoreShare(None, "")


class Cores:
    """Counts a process's share of its cores since it was made or restarted.

    Parameters
    ----------
    threads : int
        Compute threads; those beyond the CPUs that the process may use do not count. 0: nothing is measured.
    workers : int
        Threads that decode images, for the advice.
    """

    def __init__(self, threads: int = 0, workers: int = 0):
        self._cpus = len(usage.allowed_cpus())
        self._threads = min(threads, self._cpus)
        self._workers = workers
        self.restart()

    def restart(self) -> None:
        """Count from here."""
        self._left_out = usage.NONE
        self._start = usage.read()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Leave out the time within."""
        start = usage.read()
        try:
            yield
        finally:
            self._left_out += usage.read() - start

    def measure(self, wait: float) -> CoreShare:
        """The share since the start.

        Parameters
        ----------
        wait : float
            The share of it that training waited for data.
        """
        if not self._threads:
            return NOT_MEASURED
        used = usage.read() - self._start - self._left_out
        share = used.share(self._threads)
        known = share < LOW and used.wall >= TELLING_SECONDS
        return CoreShare(share, self._advice(used, share, wait) if known else "")

    def _advice(self, used: usage.Usage, share: float, wait: float) -> str:
        whose = "its thread" if self._threads == 1 else f"its {self._threads} threads"
        got = f"training gets {share:.0%} of the processor time that {whose} can use"
        if used.others >= OTHERS * self._cpus:
            fewer = usage.threads_beside(used.others, self._cpus)
            less = f", or run with OMP_NUM_THREADS={fewer}" if fewer < self._threads else ""
            return (
                f"{got}: other processes take {used.others:.1f} of the {self._cpus} CPUs (insight doctor names them); "
                f"stop them{less}"
            )
        if used.throttled >= OTHERS * used.wall:
            return f"{got}: the container's CPU limit stops it; raise the limit, or run with fewer OMP_NUM_THREADS"
        if wait >= WAITING:
            return (
                f"{got}: it waits for images while processors are idle; raise --num-workers ({self._workers}), or move "
                "the set to a faster disk"
            )
        return ""


def of_run(devices: list, workers: int) -> Cores:
    """The count for a run on these devices; nothing is measured with GPUs, which compute in place of the processor."""
    return Cores(cpu_threads(None) if devices[0].device_type == "cpu" else 0, workers)
