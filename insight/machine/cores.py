"""Numbers of cores and threads that this process may use."""

from __future__ import annotations

import os
from typing import Optional

_NO_LIMIT = 1 << 16  # cores; larger than any machine
# How many processes of this machine were started together: by horovodrun, Open MPI, MPICH.
_LOCAL_SIZES = ("HOROVOD_LOCAL_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")


def physical_cores() -> int:
    """Cores that this process may use, hyper-threads counted once, limited by the container's CPU limit.

    Two threads on one core share its vector units, which makes MXNet's kernels slower.
    """
    try:
        allowed = os.sched_getaffinity(0)
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
    cores = set()
    for cpu in allowed:
        try:
            with open(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") as siblings:
                cores.add(siblings.read().strip())
        except OSError:
            cores.add(cpu)
    return max(1, min(len(cores), _cpu_quota()))


def own_cores() -> int:
    """This process's share of :func:`physical_cores`, where it is one of several ranks of a run on this machine."""
    sizes = [int(size) for size in map(os.environ.get, _LOCAL_SIZES) if size and size.isdecimal()]
    return max(1, physical_cores() // max([1, *sizes]))


def _cpu_quota() -> int:
    """The container's CPU limit (cgroup v2, then v1) in whole cores."""
    try:
        with open("/sys/fs/cgroup/cpu.max") as limit:
            quota, period = limit.read().split()
    except (OSError, ValueError):
        try:
            with open("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") as a, open("/sys/fs/cgroup/cpu/cpu.cfs_period_us") as b:
                quota, period = a.read().strip(), b.read().strip()
        except OSError:
            return _NO_LIMIT
    if quota in ("max", "-1"):
        return _NO_LIMIT
    return max(1, int(quota) // int(period))


def cpu_threads(threads: Optional[int] = None) -> int:
    """Threads of a CPU runtime: ``threads`` if given, else OMP_NUM_THREADS, else one for each of its own cores."""
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    return threads or (int(chosen) if chosen.isdecimal() else 0) or own_cores()
