"""The share of its cores that a run gets, and the advice, from made-up counts."""

import pytest

from insight._mxnet import mx
from insight.machine.usage import Usage
from insight.runs import core_share
from insight.runs.core_share import Cores


@pytest.fixture
def clock(monkeypatch):
    """A list of the readings to come; two CPUs."""
    readings = []
    monkeypatch.setattr(core_share.usage, "read", lambda: readings.pop(0))
    monkeypatch.setattr(core_share.usage, "allowed_cpus", lambda: {0, 1})
    return readings


def measured(clock, wait=0.0, threads=2, wall=10.0, own=0.0, busy=None, throttled=0.0):
    clock += [Usage(100.0, 7.0, 50.0, 1.0), Usage(100.0 + wall, 7.0 + own, busy and 50.0 + busy, 1.0 + throttled)]
    return Cores(threads, 3).measure(wait)


def test_alone_there_is_nothing_to_say(clock):
    found = measured(clock, own=19.0, busy=19.5)
    assert found.share == pytest.approx(0.95)
    assert (found.low, found.advice) == ({}, "")


def test_others_take_the_cores(clock):
    found = measured(clock, own=6.0, busy=20.0)
    assert found.low == {"cpu": pytest.approx(0.3)}
    assert found.advice == (
        "training gets 30% of the processor time that its 2 threads can use: other processes take 1.4 of the 2 CPUs "
        "(insight doctor names them); stop them, or run with OMP_NUM_THREADS=1"
    )


def test_one_thread_cannot_become_fewer(clock):
    found = measured(clock, threads=1, own=6.0, busy=20.0)
    assert found.low == {"cpu": pytest.approx(0.6)}
    assert "that its thread can use: other processes take 1.4 of the 2 CPUs" in found.advice
    assert found.advice.endswith("stop them")


def test_the_container_s_limit(clock):
    found = measured(clock, own=10.0, busy=10.5, throttled=4.0)
    assert found.low == {"cpu": pytest.approx(0.5)}
    assert "the container's CPU limit stops it" in found.advice


def test_waiting_for_images(clock):
    found = measured(clock, own=6.0, busy=6.2, wait=0.6)
    assert "it waits for images while processors are idle; raise --num-workers (3)" in found.advice


@pytest.mark.parametrize("busy", [6.5, None])
def test_no_cause_no_advice(clock, busy):
    """Small batches leave threads idle; systems other than Linux do not say what others take."""
    found = measured(clock, own=6.0, busy=busy)
    assert (found.low, found.advice) == ({"cpu": pytest.approx(0.3)}, "")


def test_a_short_window_names_no_cause(clock):
    found = measured(clock, wall=0.9, own=0.3, busy=1.8)
    assert found.low == {"cpu": pytest.approx(1 / 6)} and found.advice == ""


def test_more_threads_than_cpus_have_none_to_get(clock):
    assert measured(clock, threads=16, own=19.0, busy=19.5).share == pytest.approx(0.95)


def test_pauses_are_left_out(clock):
    clock.append(Usage(0.0, 0.0, 0.0, 0.0))
    watched = Cores(2, 1)
    for start, end in ((Usage(1.0, 2.0, 2.0, 0.0), Usage(5.0, 2.5, 9.0, 0.0)),) * 2:
        clock += [start, end]
        with pytest.raises(KeyError), watched.pause():
            raise KeyError
    clock.append(Usage(18.0, 10.0, 24.0, 0.0))
    found = watched.measure(0.0)  # 10 s: 9 of our own, 10 in all
    assert found.share == pytest.approx(0.45) and found.advice == ""
    clock += [Usage(18.0, 10.0, 24.0, 0.0), Usage(20.0, 14.0, 28.0, 0.0)]
    watched.restart()
    assert watched.measure(0.0).share == 1.0


def test_nothing_is_counted_where_a_gpu_computes(clock, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    clock += [Usage(float(i), float(i), float(i), 0.0) for i in range(4)]
    assert Cores().measure(0.5) == core_share.NOT_MEASURED
    assert core_share.of_run([mx.gpu(0)], 2).measure(0.5) == core_share.NOT_MEASURED
    assert core_share.of_run([mx.cpu(0), mx.cpu(1)], 2).measure(0.5).share == 0.5
