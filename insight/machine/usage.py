"""CPU time of this process, and of other processes on its cores.

Linux counts the busy time of each core in ``/proc/stat``, usually in ticks of 10 ms. The busy time of the cores that
this process may use, minus its own CPU time, is the time of other processes. It includes time that the hypervisor
gave to other virtual machines (steal). Unlike the time that threads spend in the scheduler's queue, it does not grow
if the process has more threads than cores.

Source: proc(5), sections ``/proc/stat`` and ``/proc/pid/stat``; "Control Group v2", section "CPU Interface Files",
of the kernel's documentation.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

PROC = Path("/proc")
# For cgroups v2 and v1: file, name of the counter, and its unit in seconds.
THROTTLED = (
    (Path("/sys/fs/cgroup/cpu.stat"), "throttled_usec", 1e-6),
    (Path("/sys/fs/cgroup/cpu/cpu.stat"), "throttled_time", 1e-9),
)
LISTED_ABOVE = 0.1  # cores; processes that use fewer are not listed


@dataclass(frozen=True)
class Usage:
    """Times in seconds, since an arbitrary start or between two readings.

    Attributes
    ----------
    wall : float
        Wall time.
    own : float
        CPU time of this process, summed over its threads.
    busy : float, optional
        Busy time of the cores that this process may use, summed over the cores; None if the system does not
        report it.
    throttled : float
        Time for which the container's CPU limit stopped processes.
    """

    wall: float
    own: float
    busy: Optional[float]
    throttled: float

    def __add__(self, other: Usage) -> Usage:
        busy = None if self.busy is None or other.busy is None else self.busy + other.busy
        return Usage(self.wall + other.wall, self.own + other.own, busy, self.throttled + other.throttled)

    def __sub__(self, other: Usage) -> Usage:
        busy = None if other.busy is None else -other.busy
        return self + Usage(-other.wall, -other.own, busy, -other.throttled)

    @property
    def others(self) -> float:
        """Average number of cores that other processes used; 0 if the system does not report it."""
        if self.busy is None or self.wall <= 0:
            return 0.0
        return max(0.0, (self.busy - self.own) / self.wall)

    def share(self, threads: int) -> float:
        """Return own CPU time divided by the wall time of ``threads`` threads, at most 1."""
        return min(1.0, self.own / (self.wall * threads)) if self.wall > 0 else 1.0


NONE = Usage(0.0, 0.0, 0.0, 0.0)


def read() -> Usage:
    """Read the current times."""
    return Usage(time.perf_counter(), time.process_time(), _busy(allowed_cpus()), _throttled())


def allowed_cpus() -> Set[int]:
    """Return the numbers of the logical CPUs on which this process may run."""
    try:
        return os.sched_getaffinity(0)
    except AttributeError:  # not Linux
        return set(range(os.cpu_count() or 1))


def _busy(cpus: Set[int]) -> Optional[float]:
    """Return the busy seconds of the given CPUs since the machine was started; None if unknown."""
    ticks = 0
    try:
        with open(PROC / "stat", encoding="ascii") as lines:
            for name, *counts in map(str.split, takewhile(lambda line: line.startswith("cpu"), lines)):
                if name[3:].isdigit() and int(name[3:]) in cpus:
                    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, [*counts, *"00000000"][:8])
                    ticks += user + nice + system + irq + softirq + steal
    except OSError:
        return None
    return ticks / os.sysconf("SC_CLK_TCK") if ticks else None  # some sandboxes report zeros


def _throttled() -> float:
    """Return the seconds for which the CPU limit has stopped processes of this cgroup; 0 without a limit."""
    for path, name, unit in THROTTLED:
        try:
            counts = dict(line.split(None, 1) for line in path.read_text().splitlines())
            return int(counts[name]) * unit
        except (OSError, ValueError, KeyError):  # not this version of cgroups, or no limit
            continue
    return 0.0


def threads_beside(others: float, cpus: int) -> int:
    """Return the number of threads that can have a CPU each if other processes use ``others`` of ``cpus`` CPUs."""
    return max(1, cpus - max(1, round(others)))


class Process(NamedTuple):
    """Another process, and the average number of cores that it uses."""

    name: str
    pid: int
    cores: float


class Load(NamedTuple):
    """The load of other processes on the cores that this process may use.

    Attributes
    ----------
    cores : float
        Average number of cores that they use.
    processes : list of Process
        Sorted by load, the highest first. Processes that use less than a tenth of a core, belong to another virtual
        machine or are hidden from this user are not listed.
    """

    cores: float
    processes: List[Process]


def watch(seconds: float) -> Optional[Load]:
    """Measure the load of other processes for some seconds; None if the system does not report it."""
    before, processes = read(), _processes()
    time.sleep(seconds)
    usage, later = read() - before, _processes()
    if usage.busy is None:
        return None
    cpus = allowed_cpus()
    largest = []
    for pid, (name, ticks, cpu) in later.items():
        if pid in processes and pid != os.getpid() and cpu in cpus:
            cores = (ticks - processes[pid][1]) / os.sysconf("SC_CLK_TCK") / usage.wall
            if cores >= LISTED_ABOVE:
                largest.append(Process(name, pid, cores))
    return Load(usage.others, sorted(largest, key=lambda process: -process.cores))


def _processes() -> Dict[int, Tuple[str, int, int]]:
    """Return name, ticks of CPU time and last CPU of each process, by pid."""
    processes = {}
    for path in PROC.glob("[0-9]*"):
        try:
            # The name is in parentheses and may contain any character; fields are counted after it.
            head, _, tail = (path / "stat").read_text(errors="replace").rpartition(")")
            fields = tail.split()
            processes[int(path.name)] = (head.partition("(")[2], int(fields[11]) + int(fields[12]), int(fields[36]))
        except (OSError, ValueError, IndexError):  # the process has ended meanwhile
            continue
    return processes
