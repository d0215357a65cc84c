"""One rank and several: shares, and what the operations give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threads_group import run_ranks

from insight._mxnet import mx
from insight.ranks.group import span
from insight.ranks.single import Single


@given(st.integers(0, 10_000), st.integers(1, 50))
def test_shares_cover_all_in_order_and_differ_by_one_at_most(count, size):
    spans = [span(count, rank, size) for rank in range(size)]
    assert [begin for begin, _ in spans] + [count] == [0] + [end for _, end in spans]
    lengths = [end - begin for begin, end in spans]
    assert max(lengths) - min(lengths) <= 1
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize("rank", [-1, 3])
def test_a_rank_outside_the_group_has_no_share(rank):
    with pytest.raises(ValueError, match=f"rank {rank} of 3"):
        span(10, rank, 3)


def test_one_rank_gets_back_what_it_gives():
    ranks, array = Single(), np.arange(6.0).reshape(3, 2)
    for operation in (ranks.sum, ranks.max, ranks.gather, ranks.scatter_sum, ranks.broadcast):
        assert operation("x", array) is array
    assert ranks.objects("x", {"a": (1, None)}) == [{"a": [1, None]}]
    assert ranks.span(7) == (0, 7)
    ranks.barrier("x")


def exchange(ranks):
    """Every operation once, on both kinds of arrays."""
    r = ranks.rank
    row = np.array([[1.0, r], [-r, 10.0 * r], [r, 2.0], [0.0, 3.0]], np.float32)[: ranks.size]
    return {
        "sum": ranks.sum("sum", row),
        "max": ranks.max("max", mx.nd.array(row)).asnumpy(),
        "gather": ranks.gather("gather", np.full((r, 2), r, np.int64)),
        "scatter_sum": ranks.scatter_sum("scatter", row),
        "broadcast": ranks.broadcast("broadcast", mx.nd.array([r], dtype="int32"), root=1).asnumpy(),
        "objects": ranks.objects("objects", {"rank": r, "text": "ü" * r}),
        "span": ranks.span(10),
    }


def check_exchange(results):
    """What :func:`exchange` must have given on each of several ranks."""
    size = len(results)
    rows = [np.array([[1.0, r], [-r, 10.0 * r], [r, 2.0], [0.0, 3.0]], np.float32)[:size] for r in range(size)]
    for r, result in enumerate(results):
        np.testing.assert_array_equal(result["sum"], sum(rows))
        np.testing.assert_array_equal(result["max"], np.max(rows, axis=0))
        np.testing.assert_array_equal(result["gather"], [[s, s] for s in range(size) for _ in range(s)])
        assert np.asarray(result["gather"]).dtype == np.int64
        np.testing.assert_array_equal(result["scatter_sum"], sum(rows)[r : r + 1])
        np.testing.assert_array_equal(result["broadcast"], [1])
        assert result["objects"] == [{"rank": s, "text": "ü" * s} for s in range(size)]
        assert tuple(result["span"]) == span(10, r, size)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_threads_exchange(size):
    check_exchange(run_ranks(size, exchange))


def test_threads_refuse_what_does_not_match():
    with pytest.raises(AssertionError, match="'sum', 'x0'"):
        run_ranks(2, lambda ranks: ranks.sum(f"x{ranks.rank}", np.zeros(1)))


def test_rows_that_cannot_be_shared_equally_are_refused():
    with pytest.raises(ValueError, match="3 rows for 2 ranks"):
        run_ranks(2, lambda ranks: ranks.scatter_sum("x", np.zeros((3, 1))))
