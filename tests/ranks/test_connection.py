"""The group by how a process was started."""

import importlib
import sys
from types import SimpleNamespace

import pytest

from insight.errors import InsightError
from insight.machine import cores
from insight.ranks import connection, horovod
from insight.ranks.single import Single

LAUNCHERS = ("HOROVOD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "HOROVOD_LOCAL_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE")


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)


def test_one_process_needs_no_horovod(monkeypatch):
    assert isinstance(connection.connect_ranks(), Single)
    monkeypatch.setenv("HOROVOD_SIZE", "1")
    assert isinstance(connection.connect_ranks(), Single)
    assert "horovod" not in sys.modules


@pytest.mark.parametrize("name", LAUNCHERS[:3])
def test_several_do(monkeypatch, name):
    monkeypatch.setenv(name, "2")
    assert connection.started_together() == 2

    def missing(module):
        raise ModuleNotFoundError("No module named 'horovod'")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(
        InsightError, match=r"one of several ranks, and Horovod does not load \(No module .*; in insight's"
    ):
        connection.connect_ranks()


def test_ranks_that_do_not_see_each_other_do_not_train_alone(monkeypatch):
    """As those of mpirun, where Horovod was built without MPI."""
    alone = SimpleNamespace(init=lambda: None, rank=lambda: 0, size=lambda: 1)
    monkeypatch.setattr(horovod, "_import", lambda: alone)
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    with pytest.raises(InsightError, match="2 processes were started together, and Horovod sees 1 of them; start them"):
        connection.connect_ranks()


def test_the_others_learn_of_an_error(monkeypatch):
    reasons = []

    class Failing(Single):
        def fail(self, reason):
            reasons.append(reason)

    monkeypatch.setattr(connection, "connect_ranks", Failing)
    with pytest.raises(InsightError), connection.joined_ranks():
        raise InsightError("two\nlines")
    with pytest.raises(KeyboardInterrupt), connection.joined_ranks():
        raise KeyboardInterrupt
    with connection.joined_ranks():
        pass
    assert reasons == ["two lines", "KeyboardInterrupt"]


@pytest.mark.parametrize("local, expected", [("", 8), ("2", 4), ("3", 2), ("9", 1)])
def test_ranks_of_a_machine_share_its_cores(monkeypatch, local, expected):
    monkeypatch.setattr(cores, "physical_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("HOROVOD_LOCAL_SIZE", local)
    assert cores.own_cores() == cores.cpu_threads() == expected
