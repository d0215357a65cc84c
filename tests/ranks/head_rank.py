"""Steps of heads on real ranks of which some draw no class, checked against one process on each: ``head_rank.py``."""

import pickle
import sys
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[1] / "objectives")]
from test_drawn_classes import CROWDED, crowded  # noqa: E402
from test_sharded import compare  # noqa: E402

from insight.ranks.connection import joined_ranks  # noqa: E402


def everyones(ranks, value):
    """The values of all ranks."""
    own = np.frombuffer(pickle.dumps(value), np.uint8)
    lengths = ranks.gather("values/lengths", np.array([len(own)], np.int64))
    return [pickle.loads(part.tobytes()) for part in np.split(ranks.gather("values", own), np.cumsum(lengths)[:-1])]


with joined_ranks() as ranks:
    for name, options, centres in CROWDED:
        case = crowded(name, options, centres, ranks.size)[:3]
        compare(*case, ranks.size, lambda _, work: everyones(ranks, work(ranks)))
    if ranks.rank == 0:
        print(f"{len(CROWDED)} heads on {ranks.size} ranks agree")
