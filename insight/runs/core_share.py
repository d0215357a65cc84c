"""The share of its cores that a run gets, and advice if it is low.

A training step consists of thousands of small parallel regions, each of which is as slow as its slowest thread. If
another process uses one core, all threads wait for the thread on that core, so training loses more CPU time than the
other process uses.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Dict, Iterator, NamedTuple, Optional

from ..machine import usage
from ..machine.cores import cpu_threads

LOW = 0.8  # lower shares are logged
TELLING_SECONDS = 1.0  # counts over shorter windows are too coarse to find a cause
OTHERS = 0.1  # minimum share of the cores used by others, or of the time throttled, that is named as the cause
WAITING = 0.2  # minimum share of the time that training waited for data, that is named as the cause


class CoreShare(NamedTuple):
    """The share of its cores that a process got in a time window.

    Attributes
    ----------
    share : float, optional
        CPU time divided by wall time times threads, 0..1; None if not measured.
    advice : str
        Cause of a low share, and the remedy; "" if there is none.
    """

    share: Optional[float]
    advice: str

    @property
    def low(self) -> Dict[str, float]:
        """``{"cpu": share}`` for the log line if the share is low, otherwise an empty dict."""
        return {"cpu": self.share} if self.share is not None and self.share < LOW else {}


NOT_MEASURED = CoreShare(None, "")


class Cores:
    """Measures a process's share of its cores, since construction or the last restart.

    Parameters
    ----------
    threads : int
        Number of compute threads, of which at most one per usable CPU is counted; 0 disables the measurement.
    workers : int
        Number of threads that decode images, for the advice.
    """

    def __init__(self, threads: int = 0, workers: int = 0):
        self._cpus = len(usage.allowed_cpus())
        self._threads = min(threads, self._cpus)
        self._workers = workers
        self.restart()

    def restart(self) -> None:
        """Begin a new time window."""
        self._left_out = usage.NONE
        self._start = usage.read()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Exclude the time of the block from the measurement."""
        start = usage.read()
        try:
            yield
        finally:
            self._left_out += usage.read() - start

    def measure(self, wait: float) -> CoreShare:
        """Return the share since the start of the window.

        Parameters
        ----------
        wait : float
            Share of the window in which training waited for data, 0..1.
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
    """Return the measurement for a run on the given devices. On GPUs, nothing is measured."""
    return Cores(cpu_threads(None) if devices[0].device_type == "cpu" else 0, workers)
