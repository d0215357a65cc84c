"""The executor on a Dask cluster: order, bounds, errors, workers that die, and what is refused in one line."""

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from importlib import metadata

import pytest

pytest.importorskip("distributed", reason="Dask is not installed: pip install -e '.[cluster]'")

import dask_cluster as tasks
from dask_cluster import dask_cluster

from insight.errors import InsightError
from insight.executor import Cluster, Workers, dask, dask_client, dask_worker, in_order


@pytest.fixture
def cluster(two_workers):
    return Cluster(scheduler_file=str(two_workers.file))


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


def test_all_workers_work(two_workers, cluster):
    assert set(in_order(tasks.process_of, range(30), cluster)) == {worker.pid for worker in two_workers.workers}


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


def test_each_process_prepares_once(two_workers, cluster, tmp_path):
    task = tasks.Opening(str(tmp_path / "calls"))
    with Workers(task, cluster, prepare=task.open, paths=[str(tmp_path)]) as workers:
        for _ in range(2):
            assert list(workers.in_order(range(20))) == list(range(20))
    lines = (tmp_path / "calls").read_text().split()
    assert sorted(lines) == sorted(str(worker.pid) for worker in two_workers.workers)


def test_a_worker_that_cannot_prepare_is_named(cluster):
    task = tasks.OpeningFails("")
    with Workers(task, cluster, prepare=task.open) as workers:
        with pytest.raises(InsightError, match=r"^worker tcp://[\d.]+:\d+: cannot load$"):
            list(workers.in_order(range(3)))


def test_a_worker_that_lacks_a_package_is_named(cluster):
    with pytest.raises(
        InsightError, match=r"^worker tcp://.*: No module named 'no_such_package'; install insight with"
    ):
        list(in_order(tasks.lack_a_package, [1], cluster))


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
        assert sorted(worker.is_alive() for worker in workers) == [False, True]

    def test_work_goes_on_with_a_worker_that_joins_later(self, doomed, doomed_cluster, monkeypatch, capfd):
        monkeypatch.setattr(dask, "POLL_SECONDS", 0.3)
        monkeypatch.setattr(dask, "FETCH_SECONDS", 0.3)
        doomed.keep(1)
        results = in_order(tasks.square, range(200), doomed_cluster, ahead=20)
        assert [next(results) for _ in range(3)] == [0, 1, 4]
        doomed.keep(0)
        later = threading.Timer(0.7, doomed.keep, [1])
        later.start()
        assert list(results) == [i * i for i in range(3, 200)]
        later.join()
        assert capfd.readouterr().err.count("has no worker any more; waiting for one") == 1

    def test_a_task_that_kills_several_workers(self, doomed, doomed_cluster, tmp_path):
        doomed.keep(2)
        with pytest.raises(InsightError, match="one task has ended several workers, the last at tcp://"):
            list(in_order(tasks.EndsItsWorker(str(tmp_path), 0, always=True), range(10), doomed_cluster))

    def test_a_worker_that_answers_no_more(self, tmp_path, monkeypatch, capfd):
        """Its machine has stopped, and its connections are open: it is named, and given up after a time of Dask's."""
        monkeypatch.setattr(dask_client, "LATE_SECONDS", 3)
        monkeypatch.setattr(dask, "FORGET_SECONDS", 1)
        with dask_cluster(tmp_path, workers=2, DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL="2s") as own:
            cluster = Cluster(scheduler_file=str(own.file))
            (stopped,) = set(in_order(tasks.process_of, range(1), cluster))
            os.kill(stopped, signal.SIGSTOP)
            assert list(in_order(tasks.square, range(9), cluster)) == [i * i for i in range(9)]
            line = r"warning: --scheduler-file \S+: worker tcp://[\d.:]+ has not answered for 3 s; waiting, until Dask"
            assert re.match(line, capfd.readouterr().err)
            (frozen,) = set(in_order(tasks.process_of, range(1), cluster))
            with Workers(tasks.square, cluster) as workers:
                assert list(workers.in_order(range(3))) == [0, 1, 4]
                os.kill(frozen, signal.SIGSTOP)  # when the work is done: it is not waited for

    def test_a_scheduler_that_dies(self, tmp_path):
        with dask_cluster(tmp_path, workers=1) as own:
            results = in_order(tasks.square, range(3000), Cluster(scheduler_file=str(own.file)))
            next(results)
            own.scheduler.kill()
            with pytest.raises(InsightError, match="the connection to the scheduler was lost"):
                list(results)
            assert not logging.getLogger("distributed.client").isEnabledFor(logging.ERROR)  # of tracebacks

    def test_a_client_that_has_given_up(self, cluster):
        """The scheduler was away while the reader was busy."""
        with Workers(tasks.square, cluster) as workers:
            results = workers.in_order(range(20), ahead=1)
            assert next(results) == 0
            workers.start()._client.close()
            with pytest.raises(InsightError, match="the connection to the scheduler was lost"):
                next(results)


class TestRefused:
    """One line each, at the start."""

    def test_no_scheduler(self, monkeypatch):
        monkeypatch.setattr(dask_client, "CONNECT_SECONDS", 1)
        for address in ("tcp://127.0.0.1:1", "nonsense://"):
            with pytest.raises(InsightError, match=f"^--cluster {address}: no Dask scheduler answers there"):
                dask_client.connect(Cluster(address))

    def test_no_file(self, tmp_path):
        with pytest.raises(InsightError, match=r"^--scheduler-file .*none.json: no such file; want the one that"):
            dask_client.connect(Cluster(scheduler_file=str(tmp_path / "none.json")))

    @pytest.mark.parametrize(
        "text, message",
        [("", "cannot be read"), ("[]", "has no address of a scheduler"), ('{"address": 1}', "has no address")],
    )
    def test_a_file_of_something_else(self, tmp_path, text, message):
        (tmp_path / "file").write_text(text)
        with pytest.raises(InsightError, match=f"^--scheduler-file .*file: {message}.*; want the one that `dask sched"):
            dask_client.connect(Cluster(scheduler_file=str(tmp_path / "file")))

    def test_a_client_that_could_not_start_is_not_waited_for(self):
        """Its end took a minute, and printed a traceback."""
        code = "from insight.cli import main; main('face2rec all.lst --output set --cluster nonsense'.split())"
        run = subprocess.run(
            [sys.executable, "-c", code], env=tasks.environment(), capture_output=True, text=True, timeout=50
        )
        assert re.fullmatch("error: --cluster nonsense: no Dask scheduler answers there .*\n", run.stderr)

    def test_no_worker(self, doomed, doomed_cluster, monkeypatch):
        monkeypatch.setattr(dask_client, "FIRST_WORKER_SECONDS", 0.2)
        doomed.keep(0)
        with pytest.raises(InsightError, match="has no worker .*; start some: dask worker"):
            dask_client.connect(doomed_cluster)

    def test_a_worker_without_insight(self, doomed, doomed_cluster):
        doomed.keep(0)
        with doomed.another_worker(tasks.without_insight):
            with pytest.raises(InsightError, match=r"worker tcp://.* cannot import insight .*; install [\d.]+ for it"):
                dask_client.connect(doomed_cluster)

    @pytest.mark.parametrize("joins_later", [False, True])
    def test_a_worker_of_another_version(self, cluster, monkeypatch, joins_later):
        for module in (dask, dask_client):
            monkeypatch.setattr(module, "__version__", "9.9")
        if joins_later:
            monkeypatch.setattr(dask_client, "_check_workers", lambda client, cluster: None)
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
        for module in (dask, dask_client):
            monkeypatch.setattr(module, "PATH_SECONDS", 0)
        (tmp_path / "file").write_bytes(b"1234")
        name, *what = seen
        monkeypatch.setattr(dask_worker, "state_of", lambda path: dask_worker.PathState(path, *what))
        if joins_later:
            monkeypatch.setattr(dask_client, "_check_paths", lambda client, states: None)
        with pytest.raises(InsightError) as caught:
            list(in_order(abs, [1], cluster, paths=[f"{tmp_path}/{name}"]))
        assert str(caught.value).startswith("worker tcp://") and message.format(folder=tmp_path) in str(caught.value)

    def test_dask_is_not_installed(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "distributed", None)
        message = r"^--cluster tcp://a:1: needs Dask, .*; run: pip install -e '.\[cluster\]'"
        with pytest.raises(InsightError, match=message):
            dask_client.connect(Cluster("tcp://a:1"))


class TestPackages:
    """Of scheduler and workers, which may be others than here."""

    @staticmethod
    def versions(scheduler=(), worker=()):
        here = {"dask": "1", "distributed": "1", "numpy": "2", "opencv-python": None, "python": "3"}
        workers = {"tcp://b": {"packages": {**here, **dict(worker)}}, "tcp://a": {"packages": here}}
        other = {**here, "numpy": "0", **dict(scheduler)}
        return {"client": {"packages": here}, "scheduler": {"packages": other}, "workers": workers}

    @pytest.mark.parametrize(
        "others, line",
        [
            ({}, ""),
            ({"worker": {"python": "3.1"}}, ""),
            (
                {"worker": {"numpy": "3", "opencv-python": "4"}},
                "worker tcp://b has numpy 3, opencv-python 4, and this ",
            ),
            ({"worker": {"distributed": "2"}}, "worker tcp://b has distributed 2, and this machine distributed 1"),
            ({"scheduler": {"dask": "2"}}, "the scheduler has dask 2, and this machine dask 1"),
        ],
    )
    def test_differences(self, others, line):
        difference = dask_client._difference(self.versions(**others))
        assert difference.startswith(line) if line else not difference

    def test_one_line_and_not_the_table_of_dask(self, cluster, monkeypatch, capfd):
        from distributed import __version__, versions

        ours = versions.get_package_info
        monkeypatch.setattr(versions, "get_package_info", lambda packages: {**ours(packages), "distributed": "0.1"})
        dask_client.check_cluster(cluster)
        assert capfd.readouterr().err.splitlines() == [
            f"warning: {cluster}: the scheduler has distributed {__version__}, and this machine distributed 0.1; "
            "results may differ: install the same versions"
        ]

    def test_libraries_by_the_names_under_which_they_are_installed(self, cluster, monkeypatch, capfd):
        ours = metadata.version
        monkeypatch.setattr(metadata, "version", lambda name: "0.1" if name == "opencv-python" else ours(name))
        dask_client.check_cluster(cluster)
        (line,) = capfd.readouterr().err.splitlines()
        has = ours("opencv-python")
        assert re.search(rf"worker tcp://\S+ has opencv-python {has}, and this machine opencv-python 0.1; res", line)


class EndingClient:
    """A client of two workers, of which one ends before it answers."""

    def __init__(self, answer):
        self.answer = answer

    def wait_for_workers(self, count, timeout):
        pass

    def run(self, function, *arguments, on_error):
        return {"tcp://ended": OSError("closed"), "tcp://left": self.answer}


def test_workers_that_have_just_ended_are_passed_over():
    states = [dask_worker.PathState("/", -1, [])]
    dask_client._check_workers(EndingClient(dask_worker.version()), Cluster("tcp://a:1"))
    dask_client._check_paths(EndingClient(""), states)
    with pytest.raises(InsightError, match="worker tcp://left: has insight 9.9"):
        dask_client._check_workers(EndingClient("9.9"), Cluster("tcp://a:1"))
    with pytest.raises(InsightError, match="^worker tcp://left: does not see"):
        dask_client._check_paths(EndingClient("does not see"), states)
