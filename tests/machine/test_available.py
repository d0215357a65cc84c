"""Memory available to a process: by the machine, its control groups, ulimit."""

import os
import subprocess
import sys

import pytest

from insight.machine import available

WHOLE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
MB = 1_000_000


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A function that writes files of a machine with enough free memory; this process has 50 kB of it."""
    monkeypatch.setattr(available, "PROC", tmp_path / "proc")
    monkeypatch.setattr(available, "CGROUPS", tmp_path / "cgroup")

    def write(**texts):
        for name, text in {"proc/self/status": "Name:\tpython\nVmSize:\t90 kB\nVmRSS:\t50 kB\n", **texts}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    write(**{"proc/meminfo": f"MemTotal: {WHOLE // 1024} kB\nMemAvailable: {WHOLE // 1024} kB\nHugePages_Total: 0\n"})
    return write


def test_of_this_machine():
    result = available.available()
    assert 0 < available.resident() <= result.bytes <= WHOLE


def test_others_use_some(files):
    files(**{"proc/meminfo": "MemTotal: 9 kB\nMemFree: 1 kB\nMemAvailable: 1000 kB\n"})
    result = available.available()
    assert result.bytes == (1000 + 50) * 1024  # available memory, and that of this process
    assert result.limit == f"this machine has {WHOLE / 1e9:.1f} GB, others use {(WHOLE - 1050 * 1024) / 1e9:.1f} GB"


@pytest.mark.parametrize("path", ["/", "/user/job", "/not/to/be/seen"])
def test_groups_of_version_2(files, path):
    files(**{"proc/self/cgroup": f"0::{path}\n", "cgroup/memory.max": "max\n", "cgroup/memory.current": "5\n"})
    assert available.available().bytes == WHOLE
    stat = f"anon {100 * MB}\ninactive_file {30 * MB}\nactive_file {20 * MB}\n"
    files(
        **{
            "cgroup/memory.max": f"{800 * MB}\n",
            "cgroup/memory.current": f"{150 * MB}\n",
            "cgroup/memory.stat": stat,
            "cgroup/user/memory.max": "max\n",
            "cgroup/user/job/memory.max": f"{500 * MB}\n",
            "cgroup/user/job/memory.current": f"{100 * MB}\n",
        }
    )
    result, own = available.available(), 50 * 1024
    if path == "/user/job":
        assert result == (400 * MB + own, "the container's limit is 0.5 GB, others use 0.1 GB")
    else:
        assert result == (700 * MB + own, "the container's limit is 0.8 GB, others use 0.1 GB")


def test_groups_of_version_1(files):
    files(
        **{
            "proc/self/cgroup": "9:name=systemd:/\n4:memory,cpu:/docker/1\n1:cpuset:/other\n0::/\n",
            "cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "cgroup/memory/memory.usage_in_bytes": "1000\n",
        }
    )
    assert available.available().bytes == WHOLE
    files(
        **{
            "cgroup/memory/docker/1/memory.limit_in_bytes": f"{300 * MB}\n",
            "cgroup/memory/docker/1/memory.usage_in_bytes": f"{200 * MB}\n",
            "cgroup/memory/docker/1/memory.stat": f"inactive_file 0\ntotal_inactive_file {50 * MB}\n",
        }
    )
    assert available.available().bytes == 150 * MB + 50 * 1024


def test_a_process_that_uses_all_of_its_group(files):
    files(**{"cgroup/memory.max": "1000\n", "cgroup/memory.current": "900\n"})
    assert available.available().bytes == 1000  # all of it is used by this process


def test_not_linux(monkeypatch, tmp_path):
    monkeypatch.setattr(available, "PROC", tmp_path)
    monkeypatch.setattr(available, "CGROUPS", tmp_path)
    assert available.resident() == 0 and available.available().bytes == WHOLE


def test_ulimit():
    code = "from insight.machine.available import available; print(*available())"
    script = 'ulimit -v 4000000 && exec "$0" -c "$1"'
    done = subprocess.run(["bash", "-c", script, sys.executable, code], capture_output=True, text=True, check=True)
    count, reason = done.stdout.split(maxsplit=1)
    assert 3e9 < int(count) < 4000000 * 1024 and reason.startswith("ulimit -v is 4000000, ")
