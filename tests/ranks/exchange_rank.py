"""Every operation of a group of real ranks, checked on each: ``exchange_rank.py``."""

import hashlib
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
    draw = np.random.default_rng(ranks.rank)
    digests = []
    for _ in range(20):  # bits of a sum depend on nothing but the ranks and the shapes
        arrays = [mx.nd.array(np.random.default_rng(ranks.rank).normal(size=s)) for s in ((3,), (40, 70), (1000,))]
        sum_in_place(ranks, "many", arrays)
        digests.append(hashlib.sha256(b"".join(array.asnumpy().tobytes() for array in arrays)).hexdigest())
    assert len(set(digests)) == 1
    assert ranks.objects("digests", digests) == [digests] * ranks.size
    if ranks.rank == 0:
        print(f"{ranks.size} ranks agree")
