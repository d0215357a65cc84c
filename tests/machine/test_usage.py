"""Processor time of this process and of others, from made-up /proc files and from this machine's."""

import subprocess
import sys
import time

import pytest

from insight.machine import usage
from insight.machine.usage import Usage

# user nice system idle iowait irq softirq steal guest guest_nice; guest time is in user already
STAT = """\
cpu  700 80 120 9000 10 4 6 90 50 0
cpu0 100 10 20 4000 5 1 2 30 50 0
cpu1 200 20 40 3000 5 1 2 30 0 0
cpu10 400 50 60 2000 0 2 2 30 0 0
intr 12345
"""


@pytest.fixture
def proc(tmp_path, monkeypatch):
    """A /proc of our own."""
    monkeypatch.setattr(usage, "PROC", tmp_path)
    monkeypatch.setattr(usage.os, "sysconf", lambda name: {"SC_CLK_TCK": 100}[name])
    return tmp_path


class TestBusy:
    @pytest.mark.parametrize(
        ("cpus", "seconds"), [({0}, 1.63), ({1}, 2.93), ({10}, 5.44), ({0, 1, 10}, 10.0), ({0, 7}, 1.63)]
    )
    def test_counts_the_cpus_that_are_allowed(self, proc, cpus, seconds):
        (proc / "stat").write_text(STAT)
        assert usage._busy(cpus) == pytest.approx(seconds)

    def test_an_old_kernel_has_fewer_columns(self, proc):
        (proc / "stat").write_text("cpu0 100 10 20 4000\n")
        assert usage._busy({0}) == pytest.approx(1.3)

    def test_where_the_system_does_not_report_it(self, proc):
        assert usage._busy({0}) is None  # no such file
        (proc / "stat").write_text("cpu0 0 0 0 0 0 0 0 0 0 0\n")  # a sandbox
        assert usage._busy({0}) is None
        (proc / "stat").write_text(STAT)
        assert usage._busy({5}) is None


class TestUsage:
    def test_share_and_others(self):
        used = Usage(wall=10.0, own=11.0, busy=19.0, throttled=0.0)
        assert used.share(2) == pytest.approx(0.55)
        assert used.share(1) == 1.0
        assert used.others == pytest.approx(0.8)

    def test_others_are_never_negative(self):
        assert Usage(10.0, 11.0, 10.99, 0.0).others == 0.0  # ticks are coarse
        assert Usage(10.0, 1.0, None, 0.0).others == 0.0
        assert Usage(0.0, 0.0, 0.0, 0.0).share(2) == 1.0

    def test_arithmetic(self):
        a, b = Usage(5.0, 4.0, 3.0, 2.0), Usage(1.0, 1.5, 0.5, 0.25)
        assert a - b == Usage(4.0, 2.5, 2.5, 1.75)
        assert a + b == Usage(6.0, 5.5, 3.5, 2.25)
        assert (a - Usage(1.0, 1.0, None, 0.0)).busy is None
        assert a + usage.NONE == a

    @pytest.mark.parametrize(("text", "seconds"), [("throttled_usec 2500000", 2.5), ("nr_periods 3", 0.0)])
    def test_throttled_of_either_version(self, tmp_path, monkeypatch, text, seconds):
        two, one = tmp_path / "two", tmp_path / "one"
        monkeypatch.setattr(usage, "THROTTLED", ((two, "throttled_usec", 1e-6), (one, "throttled_time", 1e-9)))
        assert usage._throttled() == 0.0
        two.write_text(f"usage_usec 7\n{text}\n")
        assert usage._throttled() == pytest.approx(seconds)
        two.unlink()
        one.write_text("nr_periods 0\nthrottled_time 1500000000\n")
        assert usage._throttled() == pytest.approx(1.5)

    @pytest.mark.parametrize(
        ("others", "cpus", "threads"), [(0.6, 2, 1), (1.4, 2, 1), (2.0, 2, 1), (0.2, 8, 7), (2.4, 8, 6), (63.0, 64, 1)]
    )
    def test_threads_beside(self, others, cpus, threads):
        assert usage.threads_beside(others, cpus) == threads


class TestWatch:
    def test_lists_busy_processes(self):
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as child:
            try:
                for _ in range(20):  # beside others, it may get little at first
                    load = usage.watch(0.2)
                    if load is None:
                        pytest.skip("this system does not report the load of its processors")
                    if any(process.pid == child.pid for process in load.processes):
                        break
            finally:
                child.kill()
        (listed,) = [process for process in load.processes if process.pid == child.pid]
        assert listed.name.startswith("python") and usage.LISTED_ABOVE <= listed.cores <= 1.5
        assert load.cores >= 0.1
        assert [p.cores for p in load.processes] == sorted((p.cores for p in load.processes), reverse=True)

    def test_own_time_is_not_counted_as_others(self):
        before = usage.read()
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
        used = usage.read() - before
        assert used.own >= 0.2 and used.share(1) > 0
        assert used.busy is None or used.busy >= 0.15

    def test_names_may_contain_any_character(self, proc):
        fields = ["S", *"0" * 10, "150", "50", *"0" * 23, "3", "0"]
        (proc / "12").mkdir()
        (proc / "12/stat").write_text(f"12 (a) b (c) {' '.join(fields)}\n")
        (proc / "13").mkdir()  # has ended
        (proc / "self").mkdir()
        assert usage._processes() == {12: ("a) b (c", 200, 3)}

    def test_where_the_system_does_not_report_it(self, proc):
        assert usage.watch(0.0) is None
