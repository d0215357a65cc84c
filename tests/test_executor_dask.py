"""The executor on a Dask cluster: order, bounds, errors, workers that die, and what is refused in one line."""

import os
import signal
import sys
import threading
import time

import pytest

pytest.importorskip("distributed", reason="Dask is not installed: pip install -e '.[cluster]'")

import dask_cluster as tasks
from dask_cluster import dask_cluster

from insight.errors import InsightError
from insight.executor import Cluster, Workers, in_order
from insight.executor import dask as kind


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with dask_cluster(tmp_path_factory.mktemp("dask")) as running:
        yield running


@pytest.fixture
def cluster(running):
    return Cluster(scheduler_file=str(running.file))


@pytest.fixture(scope="module")
def doomed(tmp_path_factory):
    """A cluster whose workers die; a task may be on one of them when it does."""
    allowed = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
    with dask_cluster(tmp_path_factory.mktemp("doomed"), workers=0, **allowed) as doomed:
        yield doomed


@pytest.fixture
def doomed_cluster(doomed):
    return Cluster(scheduler_file=str(doomed.file))


@pytest.mark.parametrize("count", [0, 1, 50])
def test_results_come_in_order(cluster, count):
    assert list(in_order(tasks.square, range(count), cluster)) == [i * i for i in range(count)]


def test_all_workers_work(running, cluster):
    assert set(in_order(tasks.process_of, range(30), cluster)) == {worker.pid for worker in running.workers}


@pytest.mark.parametrize("ahead", [1, 5])
def test_no_more_items_are_taken_than_may_be_ahead(cluster, ahead):
    taken, read = [], 0

    def items():
        for i in range(20):
            taken.append(i)
            yield i

    for _ in in_order(abs, items(), cluster, ahead=ahead):
        assert len(taken) - read <= ahead
        read += 1
    assert read == 20


def test_the_first_error_is_that_of_the_earliest_item(cluster):
    results = []
    with pytest.raises(InsightError, match="^five$"):
        results.extend(in_order(tasks.fail_at_five, range(20), cluster))
    assert results == [0, 1, 2, 3, 4]


def test_an_error_that_is_not_portable(cluster):
    with pytest.raises(RuntimeError, match="Local: of a class that only the worker has") as caught:
        list(in_order(tasks.fail_locally, range(2), cluster))
    assert "in fail_locally" in str(caught.value.__cause__)  # the worker's traceback


def test_items_that_need_no_work(cluster):
    assert list(in_order(abs, [None, -1, None, None, -2], cluster)) == [None, 1, None, None, 2]


def test_large_items_and_results(cluster):
    results = in_order(tasks.double, [bytes([i]) * 300_000 for i in range(12)], cluster)
    assert [(len(data), data[0]) for data in results] == [(600_000, i) for i in range(12)]


def test_each_process_prepares_once(running, cluster, tmp_path):
    task = tasks.Opening(str(tmp_path / "calls"))
    with Workers(task, cluster, prepare=task.open, paths=[str(tmp_path)]) as workers:
        for _ in range(2):
            assert list(workers.in_order(range(20))) == list(range(20))
    lines = (tmp_path / "calls").read_text().split()
    assert sorted(lines) == sorted(str(worker.pid) for worker in running.workers)


def test_a_worker_that_cannot_prepare_is_named(cluster):
    task = tasks.OpeningFails("")
    with Workers(task, cluster, prepare=task.open) as workers:
        with pytest.raises(InsightError, match=r"^worker tcp://[\d.]+:\d+: cannot load$"):
            list(workers.in_order(range(3)))


def test_nothing_is_left_when_the_reader_stops(cluster, tmp_path):
    """What is queued is dropped, and what has begun ends at its next step."""
    before = set(threading.enumerate())
    results = in_order(tasks.Slow(str(tmp_path)), range(40), cluster)
    assert next(results) == 0
    while len(list(tmp_path.glob("begun *"))) == len(list(tmp_path.glob("ended *"))):
        time.sleep(0.01)
    results.close()
    begun, ended = (len(list(tmp_path.glob(f"{what} *"))) for what in ("begun", "ended"))
    time.sleep(1.5)
    assert len(list(tmp_path.glob("begun *"))) <= begun + 2
    assert len(list(tmp_path.glob("ended *"))) <= ended + 1
    assert not set(threading.enumerate()) - before


class TestDeath:
    def test_a_task_whose_worker_is_killed_is_done_by_another(self, doomed, doomed_cluster, tmp_path):
        doomed.keep(2)
        workers = list(doomed.workers)
        assert list(in_order(tasks.EndsItsWorker(str(tmp_path)), range(60), doomed_cluster)) == list(range(60))
        assert sorted(worker.poll() is None for worker in workers) == [False, True]

    def test_work_goes_on_with_a_worker_that_joins_later(self, doomed, doomed_cluster, monkeypatch, capfd):
        monkeypatch.setattr(kind, "LOOK_SECONDS", 0.3)
        monkeypatch.setattr(kind, "FETCH_SECONDS", 0.3)
        doomed.keep(1)
        results = in_order(tasks.square, range(200), doomed_cluster, ahead=20)
        assert [next(results) for _ in range(3)] == [0, 1, 4]
        doomed.keep(0)
        later = threading.Timer(1.5, doomed.keep, [1])
        later.start()
        assert list(results) == [i * i for i in range(3, 200)]
        later.join()
        assert capfd.readouterr().err.count("has no worker any more; waiting for one") == 1

    def test_a_task_that_kills_several_workers(self, doomed, doomed_cluster, tmp_path):
        doomed.keep(2)
        with pytest.raises(InsightError, match="one task has ended several workers, the last at tcp://"):
            list(in_order(tasks.EndsItsWorker(str(tmp_path), 0, always=True), range(10), doomed_cluster))

    def test_a_scheduler_that_dies(self, tmp_path):
        with dask_cluster(tmp_path, workers=1) as own:
            results = in_order(tasks.square, range(3000), Cluster(scheduler_file=str(own.file)))
            next(results)
            own.scheduler.kill()
            with pytest.raises(InsightError, match="the connection to the scheduler was lost"):
                list(results)


class TestRefused:
    """One line each, at the start."""

    def test_no_scheduler(self, monkeypatch):
        monkeypatch.setattr(kind, "CONNECT_SECONDS", 1)
        for address in ("tcp://127.0.0.1:1", "nonsense://"):
            with pytest.raises(InsightError, match=f"^--cluster {address}: no Dask scheduler answers there"):
                kind.connect(Cluster(address))

    def test_no_file(self, tmp_path):
        with pytest.raises(InsightError, match=r"^--scheduler-file .*none.json: no such file; want the one that"):
            kind.connect(Cluster(scheduler_file=str(tmp_path / "none.json")))

    def test_no_worker(self, doomed, doomed_cluster, monkeypatch):
        monkeypatch.setattr(kind, "FIRST_WORKER_SECONDS", 0.5)
        doomed.keep(0)
        with pytest.raises(InsightError, match="has no worker .*; start some: dask worker"):
            kind.connect(doomed_cluster)

    def test_a_worker_without_insight(self, doomed, doomed_cluster, tmp_path):
        doomed.keep(0)
        site = os.path.dirname(os.path.dirname(sys.modules["distributed"].__file__))
        (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['insight'] = None\n")
        other = doomed.worker(PYTHONPATH=os.pathsep.join([str(tmp_path), site]))
        with pytest.raises(InsightError, match=r"worker tcp://.* cannot import insight .*; install [\d.]+ for it"):
            kind.connect(doomed_cluster)
        other.send_signal(signal.SIGKILL)

    def test_a_worker_of_another_version(self, cluster, monkeypatch):
        monkeypatch.setattr(kind, "__version__", "9.9")
        with pytest.raises(
            InsightError, match=r"^worker tcp://.*: has insight [\d.]+, and this run is of 9.9; install"
        ):
            kind.connect(cluster)

    def test_a_worker_of_another_version_that_joins_later(self, cluster, monkeypatch):
        monkeypatch.setattr(kind, "__version__", "9.9")
        monkeypatch.setattr(kind, "_check_versions", lambda versions, cluster: None)
        with pytest.raises(
            InsightError, match=r"^worker tcp://.*: has insight [\d.]+, and this run is of 9.9; install"
        ):
            list(in_order(abs, [1], cluster))

    @pytest.mark.parametrize("joins_later", [False, True])
    @pytest.mark.parametrize(
        "seen, message",
        [
            (("none", -1, []), "does not see {folder}/none; all workers must see"),
            (("", -1, ["none"]), "does not see {folder}/; all workers must see"),  # nothing is mounted there
            (("file", 3, []), "sees another file than this machine at {folder}/file; all workers"),
            (("file", -1, []), "sees another file than this machine at {folder}/file; all workers"),
        ],
    )
    def test_a_path_that_workers_do_not_see(self, cluster, tmp_path, monkeypatch, seen, message, joins_later):
        monkeypatch.setattr(kind, "SIGHT_SECONDS", 0)
        (tmp_path / "file").write_bytes(b"1234")
        name, *what = seen
        monkeypatch.setattr(kind.dask_worker, "sight_of", lambda path: kind.dask_worker.Sight(path, *what))
        if joins_later:
            whole = kind._check_workers
            monkeypatch.setattr(kind, "_check_workers", lambda client, cluster, sights: whole(client, cluster, []))
        with pytest.raises(InsightError) as caught:
            list(in_order(abs, [1], cluster, paths=[f"{tmp_path}/{name}"]))
        assert str(caught.value).startswith("worker tcp://") and message.format(folder=tmp_path) in str(caught.value)

    def test_dask_is_not_installed(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "distributed", None)
        message = r"^--cluster tcp://a:1: needs Dask, .*; run: pip install -e '.\[cluster\]'"
        with pytest.raises(InsightError, match=message):
            kind.connect(Cluster("tcp://a:1"))
