"""Time and memory for opening an .idx of ten million lines: RecordFile and MXIndexedRecordIO.

    python benchmarks/idx.py [--lines 10000000] [--rounds 3]

Each measurement is a separate process, alternating; memory is the growth of the peak.
The .rec is a sparse file of the right length, because neither reads records on opening.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
RECORD_BYTES = 9340  # about the size of an image of MS1M

OPEN_OURS = "RecordFile(sys.argv[1], sys.argv[2])"
OPEN_MXNET = "mx.recordio.MXIndexedRecordIO(sys.argv[2], sys.argv[1], 'r')"
CHILD = """
import resource, sys, time
from insight.formats.recordio import RecordFile
{imports}
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, start = peak(), time.perf_counter()
opened = {open}
print(time.perf_counter() - start, peak() - before, len(opened.keys))
"""


def write_set(folder: Path, lines: int) -> None:
    """Write keys in the order of face2rec2: images 1..lines - 1, then key 0."""
    with open(folder / "train.idx", "w") as idx:
        for key in range(1, lines):
            idx.write(f"{key}\t{(key - 1) * RECORD_BYTES}\n")
        idx.write(f"0\t{(lines - 1) * RECORD_BYTES}\n")
    with open(folder / "train.rec", "wb") as rec:
        rec.write(bytes.fromhex("0a23d7ce"))
        rec.truncate(lines * RECORD_BYTES)


def measure(folder: Path, open_: str, imports: str = "") -> tuple:
    code = CHILD.format(open=open_, imports=imports)
    command = [sys.executable, "-c", code, str(folder / "train.rec"), str(folder / "train.idx")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT)
    seconds, megabytes, _ = done.stdout.split()
    return float(seconds), float(megabytes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_set(folder, args.lines)
        rounds = [
            (measure(folder, OPEN_MXNET, "from insight._mxnet import mx"), measure(folder, OPEN_OURS))
            for _ in range(args.rounds)
        ]
    for name, results in zip(("MXIndexedRecordIO", "RecordFile"), zip(*rounds)):
        seconds, megabytes = (statistics.median(column) for column in zip(*results))
        print(f"{name:<18} {seconds:6.2f} s  {megabytes:7.0f} MB")
    speed = statistics.median(theirs[0] / ours[0] for theirs, ours in rounds)
    memory = statistics.median(ours[1] / theirs[1] for theirs, ours in rounds)
    print(f"RecordFile is {speed:.1f} times as fast, in {memory:.2f} of the memory ({args.lines} lines)")


if __name__ == "__main__":
    main()
