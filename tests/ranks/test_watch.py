"""Which rank is named where one ends or does not come, over real connections."""

import time

import pytest

from insight.errors import InsightError
from insight.ranks import watch as watches
from insight.ranks import wire
from insight.ranks.group import RankFailed
from insight.ranks.standing import Standing, stall
from insight.ranks.watch import Watch

HOSTS = ["alpha", "beta", "gamma"]


def at(name, number, seconds):
    """A rank that has been in an operation, or between two, for so many seconds."""
    return Standing(name, number, time.monotonic() - seconds)


def standings_of(ranks):
    """Of each rank, by what :func:`at` takes."""
    return {rank: at(*standing) for rank, standing in enumerate(ranks)}


@pytest.mark.parametrize(
    "ranks, rank, words",
    [
        ([("fc7/maxima", 9, 70), ("", 8, 75), ("fc7/maxima", 9, 70)], 1, "is at work between two operations"),
        ([("a", 9, 70), ("a", 9, 70), ("b", 9, 71)], 2, "rank 2 (gamma) has not come to it; it is in b"),
        ([("a", 9, 70), ("", 8, 1), ("", 8, 1)], 1, "rank 1 (beta) has not come to it, and 1 others have not"),
    ],
)
def test_a_stall_names_operation_and_rank(ranks, rank, words):
    late = stall(standings_of(ranks), HOSTS, 60)
    assert late.rank == rank
    assert late.line.startswith(f"the ranks have waited in {ranks[0][0]} for 7")
    assert words in late.line


@pytest.mark.parametrize(
    "ranks",
    [
        [("a", 9, 50), ("", 8, 55), ("a", 9, 50)],  # not long yet
        [("a", 9, 70), ("a", 9, 70), ("a", 9, 69)],  # a long operation of all
        [("", 9, 700), ("", 9, 700), ("", 9, 700)],  # a long step
    ],
)
def test_what_is_no_stall(ranks):
    assert stall(standings_of(ranks), HOSTS, 60) is None


@pytest.fixture
def group(monkeypatch):
    """Three watches, connected as three processes are; and what they say and would end with."""
    monkeypatch.setattr(watches, "BEAT", 0.02)
    monkeypatch.setattr(watches, "STALLED", 0.3)
    monkeypatch.setattr(watches, "LEAVE", 0.1)
    monkeypatch.setattr(watches, "AT_WORK", 0.5)
    said, ended = [], {}
    all_of_them = [Watch(r, HOSTS, said.append, lambda line, r=r: ended.setdefault(r, line)) for r in range(len(HOSTS))]
    listener = wire.Listener()
    ends = {r: wire.connect(["127.0.0.1"], listener.port, "secret", r) for r in (1, 2)}
    all_of_them[0].start(listener.accept(2, "secret"))
    for r in (1, 2):
        all_of_them[r].start({0: ends[r]})
    yield all_of_them, ends, said, ended
    for one in all_of_them:
        one.leave()


def wait_for(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_rank_that_dies_is_named_to_all_others(group):
    ranks, ends, _, ended = group
    ends[1]._end.shutdown(2)  # as the kernel closes the sockets of a process that was killed
    wait_for(lambda: {0, 2} <= set(ended))
    for rank in (0, 2):
        assert ended[rank] == f"rank 1 of 3 (beta) {watches.KILLED}"
        with pytest.raises(RankFailed, match="rank 1 of 3"), ranks[rank].operation("next"):
            pass


def test_a_rank_at_work_has_longer_than_one_that_waits(group, monkeypatch):
    """It may be writing a file; one that waits in Horovod would wait for ever."""
    ranks, ends, _, ended = group
    monkeypatch.setattr(watches, "AT_WORK", 60)
    with ranks[0].operation("step/finite"):
        ends[1]._end.shutdown(2)
        wait_for(lambda: 0 in ended)
        time.sleep(0.2)
        assert 2 not in ended
    ranks[2]._standing = at("step/finite", 1, 0)
    wait_for(lambda: 2 in ended)


def test_a_rank_that_fails_says_why(group):
    ranks, _, _, ended = group
    ranks[2].leave("no space left on device")
    wait_for(lambda: {0, 1} <= set(ended))
    assert ended[0] == ended[1] == "rank 2 of 3 (gamma) failed: no space left on device"
    assert "rank 2 of 3" in ranks[1].failure_behind("sum", RuntimeError("Connection closed by peer"))


def test_the_death_of_rank_0_is_seen_too(group):
    ranks, _, _, ended = group
    for connection in list(ranks[0]._connections.values()):
        connection._end.shutdown(2)
    wait_for(lambda: 1 in ended and 2 in ended)
    assert ended[1] == f"rank 0 of 3 (alpha) {watches.KILLED}"


def test_ranks_that_are_done_end_without_a_word(group):
    ranks, _, said, ended = group
    for one in reversed(ranks):
        one.leave()
    time.sleep(0.5)
    assert (said, ended) == ([], {})


def test_a_stall_is_told_once_and_is_over_when_the_rank_comes(group):
    ranks, _, said, ended = group
    with ranks[0].operation("fc7/maxima"):
        with ranks[1].operation("fc7/maxima"):
            wait_for(lambda: said)
            time.sleep(0.3)
            assert len(said) == 1
            assert "waited in fc7/maxima" in said[0] and "rank 2 (gamma) has not come to it" in said[0]
    assert not ended


def test_a_stall_ends_where_horovods_variable_says_so(monkeypatch):
    monkeypatch.setattr(watches, "BEAT", 0.02)
    monkeypatch.setattr(watches, "STALLED", 0.1)
    monkeypatch.setattr(watches, "LEAVE", 0.1)
    monkeypatch.setenv(watches.STALL_LIMIT, "0.2")
    late = []
    alone = Watch(0, HOSTS[:2], late.append, lambda line: late.append(line))
    listener = wire.Listener()
    other = wire.connect(["127.0.0.1"], listener.port, "secret", 1)
    alone.start(listener.accept(1, "secret"))
    with alone.operation("step/finite"):
        wait_for(lambda: len(late) > 1)
    assert late[-1] == f"rank 1 of 2 (beta) did not come to step/finite within 0.2 s ({watches.STALL_LIMIT})"
    other.send({"done": True})


def test_only_who_knows_the_secret_is_let_in():
    listener = wire.Listener()
    wire.connect(["127.0.0.1"], listener.port, "wrong", 1)
    right = wire.connect(["127.0.0.1"], listener.port, "right", 1)
    (accepted,) = listener.accept(1, "right").values()
    right.send({"done": True})
    assert next(accepted.messages(5)) == {"done": True}


def test_ranks_that_do_not_come_are_counted(monkeypatch):
    monkeypatch.setattr(wire, "WITHIN", 0.2)
    with pytest.raises(InsightError, match="2 of the 2 other ranks have not connected"):
        wire.Listener().accept(2, "secret")
    with pytest.raises(InsightError, match="rank 1 cannot connect to rank 0 at 127.0.0.1, port 1;"):
        wire.connect(["127.0.0.1"], 1, "secret", 1)
