"""Numbers of cores and threads that this process may use."""

from __future__ import annotations

import os
from typing import Optional

_NO_LIMIT = 1 << 16  # cores; larger than any machine
# Variables with the number of processes started on this machine, set by horovodrun, Open MPI and MPICH.
_LOCAL_SIZES = ("HOROVOD_LOCAL_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")


def physical_cores() -> int:
    """Return the number of physical cores that this process may use, at most the container's CPU limit.

    Hyper-threads of one core are counted once: they share its vector units, so two threads on one core make MXNet's
    kernels slower.
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
    """Return :func:`physical_cores` divided by the number of ranks of this run on this machine, at least 1."""
    sizes = [int(size) for size in map(os.environ.get, _LOCAL_SIZES) if size and size.isdecimal()]
    return max(1, physical_cores() // max([1, *sizes]))


def _cpu_quota() -> int:
    """Return the container's CPU limit in whole cores, from cgroup v2 or else v1."""
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
    """Return ``threads`` if given, otherwise OMP_NUM_THREADS, otherwise :func:`own_cores`."""
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    return threads or (int(chosen) if chosen.isdecimal() else 0) or own_cores()
