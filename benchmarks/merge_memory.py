"""Memory and time of comparing the identity centres of two sets, as in dataset-merge.

    python benchmarks/merge_memory.py [--identities 100000] [--dimension 512] [--within]

Both sets have the same number of random centres; the result is the peak of the whole process, including the centres.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from insight.curate.overlap import Rules, decide
from insight.faces.unit import scale_to_unit

ROWS = 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, default=100000, help="in each of the two sets")
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--within", action="store_true", help="also compare within each set")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    centres = np.empty((2 * args.identities, args.dimension), np.float32)
    for begin in range(0, len(centres), ROWS):
        block = centres[begin : begin + ROWS]
        block[:] = rng.standard_normal(block.shape, np.float32)
        scale_to_unit(block)
    start = time.perf_counter()
    decisions = decide([args.identities] * 2, centres, Rules(within=args.within))
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{args.identities} x {args.identities} centres of {args.dimension}: {seconds:.1f} s, peak {peak:.0f} MB, "
        f"{int((~decisions.eligible).sum())} matched"
    )


if __name__ == "__main__":
    main()
