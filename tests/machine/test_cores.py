"""The number of cores that a process may use."""

import builtins
import io
import os

import pytest

from insight.machine import cores


class TestPhysicalCores:
    @pytest.fixture
    def machine(self, monkeypatch):
        """A machine of given sibling lists and quota file."""

        def make(siblings, quota=None, allowed=None):
            monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(allowed or siblings), raising=False)
            files = {
                f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": s for cpu, s in siblings.items()
            }
            if quota:
                files["/sys/fs/cgroup/cpu.max"] = quota
            real_open = builtins.open

            def fake_open(path, *args, **kwargs):
                if not str(path).startswith("/sys/"):
                    return real_open(path, *args, **kwargs)
                if path not in files:
                    raise FileNotFoundError(path)
                return io.StringIO(files[path])

            monkeypatch.setattr(builtins, "open", fake_open)

        return make

    def test_counts_hyper_threads_once(self, machine):
        machine({0: "0,4\n", 1: "1,5\n", 4: "0,4\n", 5: "1,5\n"})
        assert cores.physical_cores() == 2

    def test_counts_only_what_the_process_may_use(self, machine):
        machine({0: "0\n", 1: "1\n", 2: "2\n"}, allowed=[1])
        assert cores.physical_cores() == 1

    @pytest.mark.parametrize(
        ("quota", "expected"), [("200000 100000", 2), ("150000 100000", 1), ("50000 100000", 1), ("max 100000", 4)]
    )
    def test_container_quota(self, machine, quota, expected):
        machine({cpu: f"{cpu}\n" for cpu in range(4)}, quota)
        assert cores.physical_cores() == expected

    def test_without_sysfs(self, machine, monkeypatch):
        machine({})
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2})
        assert cores.physical_cores() == 3
