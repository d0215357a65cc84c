"""Order, bounds, errors and ends of work that is done ahead, by threads and by processes."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from insight import executor
from insight.errors import InsightError
from insight.executor import PROCESSES, THREADS, Workers, in_order

ROOT = Path(__file__).resolve().parent.parent
KINDS = pytest.mark.parametrize("kind", [THREADS, PROCESSES])


@pytest.fixture(autouse=True)
def may_fork(monkeypatch):
    """Other tests leave threads in this process that do not matter here: their locks are not used by these tasks."""
    monkeypatch.setattr(executor, "may_fork", lambda: True)


def children():
    """Pids of this process's children, ended ones that nobody waited for among them."""
    pids = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            pids |= set(map(int, (task / "children").read_text().split()))
    return pids


@KINDS
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_results_come_in_order(kind, workers, count):
    def task(i):
        time.sleep(0.002 * (i % 3))
        return i * i

    assert list(in_order(task, range(count), workers, kind)) == [i * i for i in range(count)]


@KINDS
@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_no_more_items_are_taken_than_may_be_ahead(kind, ahead):
    taken, read = [], 0

    def items():
        for i in range(20):
            taken.append(i)
            yield i

    for _ in in_order(lambda i: i, items(), 2, kind, ahead):
        assert len(taken) - read <= ahead
        read += 1
    assert read == 20


@KINDS
def test_items_are_taken_in_the_caller_s_thread(kind):
    threads = set()

    def items():
        for i in range(10):
            threads.add(threading.get_ident())
            yield i

    assert list(in_order(abs, items(), 3, kind)) == list(range(10))
    assert threads == {threading.get_ident()}


@KINDS
@pytest.mark.parametrize("workers", [1, 4])
def test_the_first_error_is_that_of_the_earliest_item(kind, workers):
    """Item 5 fails late, item 7 at once: 5's error comes, behind the results of 0 to 4."""

    def task(i):
        if i == 5:
            time.sleep(0.05)
            raise InsightError("five")
        if i == 7:
            raise ValueError("seven")
        return i

    got = []
    with pytest.raises(InsightError, match="five"):
        got.extend(in_order(task, range(20), workers, kind))
    assert got == [0, 1, 2, 3, 4]
    assert not children()


@KINDS
def test_an_error_of_the_items_comes_in_its_turn(kind):
    def items():
        yield from range(3)
        raise InsightError("no more")

    got = []
    with pytest.raises(InsightError, match="no more"):
        got.extend(in_order(abs, items(), 2, kind, ahead=8))
    assert got == [0, 1, 2]


@KINDS
def test_nothing_is_left_when_the_reader_stops(kind):
    before = {thread.name for thread in threading.enumerate()}
    results = in_order(abs, range(1000), 3, kind)
    assert next(results) == 0
    results.close()
    assert not children()
    assert {thread.name for thread in threading.enumerate()} == before


def test_no_process_works_on_when_the_reader_stops(tmp_path):
    """All of them are in the middle of a task then, also those that the first forked."""

    def task(i):
        if i > 3:
            (tmp_path / f"begun {i}").touch()
            time.sleep(0.5)
            (tmp_path / f"ended {i}").touch()
        return i

    results = in_order(task, range(20), 4, PROCESSES)
    assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
    while len(list(tmp_path.glob("begun *"))) < 4:
        time.sleep(0.01)
    results.close()
    assert not children()
    time.sleep(0.7)
    assert not list(tmp_path.glob("ended *"))


@KINDS
def test_large_items_and_results(kind):
    """Both larger than a pipe holds, in both directions at once."""
    results = in_order(lambda data: data * 2, [bytes([i]) * 300_000 for i in range(12)], 2, kind)
    assert [(len(data), data[0]) for data in results] == [(600_000, i) for i in range(12)]


@KINDS
def test_prepare_is_called_once_before_any_task(kind, tmp_path):
    def prepare():
        with open(tmp_path / "calls", "a") as out:
            out.write("x")

    def task(i):
        return (tmp_path / "calls").read_text()

    with Workers(task, 3, kind, prepare) as workers:
        assert set(workers.in_order(range(30))) == {"x"}


@KINDS
def test_an_error_of_prepare_is_that_of_the_first_task(kind):
    def prepare():
        raise InsightError("cannot load")

    with Workers(abs, 2, kind, prepare) as workers, pytest.raises(InsightError, match="cannot load"):
        list(workers.in_order(range(3)))


def test_processes_are_processes_and_share_what_was_there_before():
    pids = set(in_order(lambda i: os.getpid(), range(40), 2, PROCESSES))
    assert os.getpid() not in pids


def test_an_error_that_does_not_go_through_a_pipe():
    class Local(Exception):
        pass

    def task(i):
        raise Local("of a class that only the worker has")

    with pytest.raises(RuntimeError, match="Local: of a class that only the worker has") as caught:
        list(in_order(task, range(2), 1, PROCESSES))
    assert "in task" in str(caught.value.__cause__)  # the worker's traceback


def test_a_worker_that_is_killed():
    def task(i):
        if i == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return i

    with pytest.raises(InsightError, match="a worker process was killed"):
        list(in_order(task, range(10), 2, PROCESSES))
    assert not children()


def test_threads_do_where_a_fork_is_unsafe(monkeypatch):
    monkeypatch.setattr(executor, "may_fork", lambda: False)
    assert set(in_order(lambda i: os.getpid(), range(5), 2, PROCESSES)) == {os.getpid()}


PARENT = """
    import sys, time
    from insight.executor import in_order, may_fork
    assert may_fork()
    def task(i):
        time.sleep(0.05)
        return i
    try:
        for result in in_order(task, range(10_000), 3, "processes"):
            print(result, flush=True)
    except KeyboardInterrupt:
        sys.exit(130)
"""


def test_ctrl_c_is_the_parent_s_to_judge():
    """A program that does not stop at Ctrl-C gets all results: workers pass over it."""
    code = """
        import os, signal, time
        from insight.executor import in_order
        def task(i):
            time.sleep(0.02)
            return i
        for result in in_order(task, range(30), 2, "processes"):
            if result == 3:
                signal.signal(signal.SIGINT, lambda *_: None)
                os.killpg(0, signal.SIGINT)
        print(result)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, start_new_session=True, timeout=60)
    assert (done.stdout, done.stderr) == ("29\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_no_process_outlives_its_parent(number):
    """Ctrl-C goes to the whole group, as a terminal sends it; SIGKILL and SIGTERM to the parent alone."""
    code = textwrap.dedent(PARENT)
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout.readline() == "0\n"
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, err = process.communicate(timeout=20)  # ends when the last process has closed its stdout
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert err == ""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    pytest.fail("a worker is left")


@KINDS
def test_items_that_need_no_work(kind):
    """Their result is None, in its turn, and no worker sees them."""
    items = [None, 1, None, None, 2, None]
    assert list(in_order(lambda i: i * 10, items, 2, kind)) == [None, 10, None, None, 20, None]


@KINDS
def test_workers_start_with_the_first_task(kind):
    workers = Workers(abs, 2, kind)
    assert list(workers.in_order([None, None])) == [None, None]
    assert not children() and not [one for one in threading.enumerate() if one.name == "worker"]
    assert list(workers.in_order([-1])) == [1]
    workers.close()


@KINDS
def test_no_item_is_taken_without_room(kind):
    """Items may hold what is bounded in another way than by their number."""
    held, most = set(), []

    def items():
        for i in range(20):
            held.add(i)
            most.append(len(held))
            yield i

    with Workers(abs, 2, kind) as workers:
        for result in workers.in_order(items(), ahead=10, room=lambda: len(held) < 3):
            held.remove(result)
    assert len(most) == 20 and max(most) == 3
