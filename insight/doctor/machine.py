"""Python, platform, processor, memory, disk: whether MXNet's wheels fit and training has room."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from pathlib import Path
from typing import Iterator, Optional

from .._mxnet import physical_cores
from .report import FAIL, GIB, OK, WARN, Check

CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16")
SETTINGS = re.compile(r"(MXNET|OMP|KMP|MALLOC|CUDA)_|(LD_PRELOAD|LD_LIBRARY_PATH|GLIBC_TUNABLES)$")


def check_machine() -> Iterator[Check]:
    version, fits = platform.python_version(), (3, 9) <= sys.version_info[:2] < (3, 13)
    remedy = "" if fits else "make an environment with Python 3.11 (3.9 to 3.12 will do)"
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
    cores = physical_cores()
    yield Check("machine", "CPU", OK, processor())
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is None:
        yield Check("machine", "threads", OK, f"OMP_NUM_THREADS is unset; insight sets {cores}")
    else:
        remedy = "" if threads == str(cores) else f"unset OMP_NUM_THREADS, or set the physical cores: {cores}"
        yield Check("machine", "threads", WARN if remedy else OK, f"OMP_NUM_THREADS={threads}", remedy)
    memory = _available_memory()
    if memory is not None:
        remedy = "training needs about 2 GiB and a large class layer far more" if memory < 2 * GIB else ""
        yield Check("machine", "memory", WARN if remedy else OK, f"{memory / GIB:.1f} GiB available", remedy)
    disk = shutil.disk_usage(".").free
    remedy = "free some: checkpoints and records are written whole before they replace old ones" if disk < GIB else ""
    yield Check("machine", "disk", WARN if remedy else OK, f"{disk / GIB:.1f} GiB free in {os.getcwd()}", remedy)


def processor() -> str:
    """One line: model, cores, instruction sets that networks are fast with."""
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
    """Bytes that the kernel and the container's limit still give; None where neither says."""
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
