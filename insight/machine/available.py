"""Memory available to this process under the limits of the machine, the container and ulimit."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Dict, Iterator, NamedTuple, Optional, Tuple

CGROUPS = Path("/sys/fs/cgroup")
PROC = Path("/proc")
NO_LIMIT = 1 << 60  # bytes; cgroups v1 reports a larger number if there is no limit


class Available(NamedTuple):
    """Total number of bytes that this process may use, and the cause of the limit, for messages."""

    bytes: int
    limit: str


def available() -> Available:
    """Return the lowest of the limits of the machine, of each control group of this process, and of ``ulimit -v``.

    Memory that the process already uses is included. The page cache, which the kernel can reclaim, counts as free.
    Swap does not count.
    """
    return min([_machine(), *_groups(), *_address_space()])


def resident() -> int:
    """Return the resident memory of this process in bytes; 0 if unknown."""
    return _of_process("VmRSS")


def _of_process(name: str) -> int:
    return _kilobytes(PROC / "self/status").get(name, 0)


def _machine() -> Available:
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    free = _kilobytes(PROC / "meminfo").get("MemAvailable", whole)
    return _left(f"this machine has {_gb(whole)}", whole, whole - free)


def _groups() -> Iterator[Available]:
    for folder, names in _folders():
        limit, used = (_number(folder / name) for name in names)
        if limit is not None and used is not None and limit < NO_LIMIT:
            cached = _statistics(folder / "memory.stat")
            used -= cached.get("inactive_file", 0) + cached.get("active_file", 0)
            yield _left(f"the container's limit is {_gb(limit)}", limit, used)


def _left(what: str, limit: int, used: int) -> Available:
    others = min(limit, max(0, used - resident()))
    return Available(limit - others, f"{what}, others use {_gb(others)}")


def _folders() -> Iterator[Tuple[Path, Tuple[str, str]]]:
    """Yield the control groups of this process, from its own up, and the names of the files with limit and usage."""
    try:
        lines = (PROC / "self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for _, controllers, path in (line.split(":", 2) for line in lines or ["0::/"] if line.count(":") >= 2):
        if not controllers:
            root, names = CGROUPS, ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            root, names = CGROUPS / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        within = PurePosixPath(path.lstrip("/") or ".")  # in a container, the path may not be visible
        for part in (within, *within.parents):
            if ".." not in part.parts:
                yield root / part, names


def _address_space() -> Iterator[Available]:
    try:
        import resource
    except ImportError:  # Windows
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        reserved = max(0, _of_process("VmSize") - resident())  # address space of libraries and threads without memory
        what = f"ulimit -v is {limit // 1024}, and {_gb(reserved)} of that are address space without memory"
        yield Available(max(0, limit - reserved), what)


def _kilobytes(path: Path) -> Dict[str, int]:
    """Return the values of lines such as ``VmRSS:  1234 kB`` by name, in bytes."""
    try:
        lines = path.read_text().splitlines()
    except OSError:  # not Linux
        return {}
    words = (line.replace(":", " ").split() for line in lines)
    return {name: int(value) * 1024 for name, value, *unit in (w for w in words if len(w) == 3) if unit == ["kB"]}


def _statistics(path: Path) -> Dict[str, int]:
    """Return the values of lines such as ``inactive_file 1234`` by name; for cgroups v1, totals with subgroups."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    counts = {name: int(value) for name, value in lines if value.isdigit()}
    return {**counts, **{name[len("total_") :]: value for name, value in counts.items() if name.startswith("total_")}}


def _number(path: Path) -> Optional[int]:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # not this version of cgroups, or "max"
        return None


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
