"""Every operation of a group of real ranks, checked on each: ``exchange_rank.py``."""

import functools
import sys
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]
from test_group import check_exchange, exchange  # noqa: E402

from insight._mxnet import mx  # noqa: E402
from insight.ranks.connection import joined_ranks  # noqa: E402
from insight.ranks.flat import sum_in_place  # noqa: E402

with joined_ranks() as ranks:
    plain = exchange(ranks)
    listed = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in plain.items()}
    everyones = ranks.objects("results", listed)
    check_exchange(everyones)
    own = plain["gather"]
    assert own.dtype == np.int64
    for shape in ((3,), (40, 70), (1000,)) * 5:  # floats are added up in the order of the ranks, to the bit
        arrays = [np.random.default_rng(rank).normal(size=shape).astype(np.float32) for rank in range(ranks.size)]
        total = functools.reduce(np.add, arrays)
        np.testing.assert_array_equal(ranks.sum("ordered", arrays[ranks.rank]), total)
        several = [mx.nd.array(arrays[ranks.rank]), mx.nd.ones((2, 3))]
        sum_in_place(ranks, "many", several)
        np.testing.assert_array_equal(several[0].asnumpy(), total)
        np.testing.assert_array_equal(several[1].asnumpy(), np.full((2, 3), ranks.size))
    if ranks.rank == 0:
        print(f"{ranks.size} ranks agree")
