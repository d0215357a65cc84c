"""Checks of Python, platform, processor, memory and disk."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from pathlib import Path
from typing import Iterator, Optional

from ..machine import usage
from ..machine.cores import physical_cores
from .findings import FAIL, GIB, OK, WARN, Check

CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16")
WATCHED = 0.5  # seconds
BUSY = 0.2  # share of the CPUs used by others above which training is slowed
LISTED = 3  # processes
SETTINGS = re.compile(r"(MXNET|OMP|GOMP|KMP|DNNL|ONEDNN|MALLOC|CUDA)_|(LD_PRELOAD|LD_LIBRARY_PATH|GLIBC_TUNABLES)$")


def check_machine() -> Iterator[Check]:
    version, fits = platform.python_version(), (3, 9) <= sys.version_info[:2] < (3, 13)
    remedy = "" if fits else "make an environment with Python 3.11 (3.9 to 3.12 work)"
    yield Check("machine", "python", OK if fits else FAIL, f"{version}, {sys.executable}", remedy)
    system = (platform.system(), platform.machine())
    libc = platform.libc_ver()[0]
    has_wheel = system in {("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "x86_64")}
    has_wheel = has_wheel and (system[0] != "Linux" or libc == "glibc")
    remedy = "" if has_wheel else "MXNet 1.9.1 has wheels for Linux with glibc (x86_64, aarch64) and macOS on Intel"
    yield Check("machine", "platform", OK if has_wheel else FAIL, platform.platform(), remedy)
    settings = [f"{k}={v}" for k, v in sorted(os.environ.items()) if SETTINGS.match(k)]
    yield Check("machine", "settings", OK, " ".join(settings) or "none set")


def check_resources() -> Iterator[Check]:
    yield Check("machine", "CPU", OK, processor())
    load, cpus = usage.watch(WATCHED), len(usage.allowed_cpus())
    busy = load is not None and load.cores >= BUSY * cpus
    yield _check_threads(physical_cores(), usage.threads_beside(load.cores, cpus) if busy else 0)
    if load is not None:
        yield _check_load(load, cpus, busy)
    memory = _available_memory()
    if memory is not None:
        remedy = "training needs about 2 GiB and a large class layer far more" if memory < 2 * GIB else ""
        yield Check("machine", "memory", WARN if remedy else OK, f"{memory / GIB:.1f} GiB available", remedy)
    disk = shutil.disk_usage(".").free
    remedy = "free some: checkpoints and records are written completely before they replace old ones"
    remedy = remedy if disk < GIB else ""
    yield Check("machine", "disk", WARN if remedy else OK, f"{disk / GIB:.1f} GiB free in {os.getcwd()}", remedy)


def _check_threads(cores: int, beside: int) -> Check:
    """Check ``OMP_NUM_THREADS``.

    ``beside`` is the number of threads that can have a CPU each while other processes run; 0 if those use little.
    """
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is None:
        return Check("machine", "threads", OK, f"OMP_NUM_THREADS is unset; insight sets {cores}")
    fits = threads in (str(cores), str(beside))
    remedy = "" if fits else f"unset OMP_NUM_THREADS, or set the physical cores: {cores}"
    return Check("machine", "threads", OK if fits else WARN, f"OMP_NUM_THREADS={threads}", remedy)


def _check_load(load: usage.Load, cpus: int, busy: bool) -> Check:
    result = f"other processes take {load.cores:.1f} of {cpus} CPUs"
    if not busy:
        return Check("machine", "load", OK, result)
    if load.processes:
        result += ": " + ", ".join(f"{name} (pid {pid}) {cores:.1f}" for name, pid, cores in load.processes[:LISTED])
    fewer = usage.threads_beside(load.cores, cpus)
    less = "" if fewer >= physical_cores() else f", or train with OMP_NUM_THREADS={fewer}"
    remedy = f"training threads wait for each other, and lose far more than that: stop other processes{less}"
    return Check("machine", "load", WARN, result, remedy)


def processor() -> str:
    """Describe the processor in one line: model, physical cores, instruction sets that make networks fast."""
    model, flags = _cpuinfo()
    has = " ".join(flag for flag in CPU_FLAGS if flag in flags)
    return f"{model or platform.machine()}, {physical_cores()} physical cores usable, {has}".rstrip(", ")


def _cpuinfo() -> tuple[str, set[str]]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor(), set()
    model = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    return model.group(1) if model else "", set(flags.group(1).split()) if flags else set()


def _available_memory() -> Optional[int]:
    """Available memory in bytes, as the kernel or the container limits it; None if both are unknown."""
    room = []
    try:
        room.append(
            int(re.search(r"^MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text(), re.M).group(1)) << 10
        )
    except (OSError, AttributeError):
        pass
    try:
        cgroup = Path("/sys/fs/cgroup")
        room.append(int((cgroup / "memory.max").read_text()) - int((cgroup / "memory.current").read_text()))
    except (OSError, ValueError):  # no cgroup v2, or "max"
        pass
    return min(room) if room else None
