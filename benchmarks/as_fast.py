"""Is a checkout as fast as another? Times training steps, the ArcFace head and the loader of both, in turn, in one run.

    python benchmarks/as_fast.py OLD_CHECKOUT [NEW_CHECKOUT] [--rounds 7] [--bound 3] [--only y1,r50,loader]

The new checkout is the one of this file unless it is given. Rounds run old, new, old, new; each time is taken in a
process of its own, which uses that checkout's package and its own benchmarks/train_step.py (``our_step``), head.py
(``made_up``, ``our_step``) or loader.py (``plain_copy``, ``ours``), and reports the fastest of a few repetitions after
one that warms up. The figure is the ratio of the medians over the rounds, new to old; below it is the range of the
ratios of single rounds, which says how quiet the machine was. Exit status 1 if a ratio is more than --bound percent
above 1. Let nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List, Tuple

ROOT = Path(__file__).resolve().parents[1]


def time_step(network: str, batch_size: int, classes: int = 10000) -> Callable[[], None]:
    """A training step of a network with ArcFace."""
    from insight import nets
    from insight._mxnet import keep_freed_memory, mx

    keep_freed_memory()
    train_step = importlib.import_module("train_step")
    data = mx.nd.random.uniform(0, 255, (batch_size, 3, 112, 112))
    label = mx.nd.floor(mx.nd.random.uniform(0, classes, (batch_size,)))
    step = train_step.our_step(network, batch_size, classes, nets.family(network).default_embedding_size)
    return lambda: step(data, label)


def time_head(classes: int, batch_size: int = 128, embedding_size: int = 512) -> Callable[[], None]:
    """A step of the ArcFace head: logits, margin, softmax, gradients, and SGD with momentum."""
    from insight._mxnet import keep_freed_memory

    keep_freed_memory()
    head = importlib.import_module("head")
    options = argparse.Namespace(classes=classes, batch_size=batch_size, emb_size=embedding_size)
    embedding, label, weight = head.made_up(options)
    step, _ = head.our_step(weight)
    return lambda: step(embedding, label)


def time_loader(rec_path: str, batch_size: int = 64, batches: int = 20) -> Callable[[], None]:
    """Shuffled, mirrored batches of made-up faces."""
    loader = importlib.import_module("loader")
    epoch = loader.ours(rec_path, batch_size, loader.physical_cores())

    def read() -> None:
        count = 0
        while count < batches:
            for data in itertools.islice(epoch(), batches - count):
                data.wait_to_read()
                count += 1

    return read


# Name -> (repetitions in a process, what makes the timed function; the loader's is given the set's path)
MEASURED: Dict[str, Tuple[int, Callable[[str], Callable[[], None]]]] = {
    "y1": (5, lambda rec_path: time_step("y1", 64)),
    "r50": (3, lambda rec_path: time_step("r50", 16)),
    "head-10000": (20, lambda rec_path: time_head(10_000)),
    "head-100000": (5, lambda rec_path: time_head(100_000)),
    "loader": (5, time_loader),
}


def measure(name: str, rec_path: str) -> float:
    """Seconds of the fastest repetition, in this process."""
    repetitions, prepare = MEASURED[name]
    run = prepare(rec_path)
    run()
    seconds = []
    for _ in range(repetitions):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def call(checkout: Path, *words: str) -> str:
    """What this script prints in a process with a checkout's package and benchmarks."""
    command = [sys.executable, __file__, str(checkout), *words]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(checkout)}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"error: {checkout}: {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


def make_set(folder: Path) -> str:
    """Draw faces and pack them; returns the path of the .rec."""
    loader = importlib.import_module("loader")
    return loader.plain_copy(str(loader.made_up_set(folder)), folder)


def processor() -> str:
    """The processor's name."""
    with open("/proc/cpuinfo") as lines:
        return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def compare(name: str, old: Path, new: Path, rounds: int, rec_path: str) -> float:
    """Measure both in turn and print the figures; the ratio of the medians, new to old."""
    seconds: Dict[Path, List[float]] = {old: [], new: []}
    for _ in range(rounds):
        for checkout in (old, new):
            seconds[checkout].append(float(call(checkout, "--measure", name, "--set", rec_path)))
    ratio = statistics.median(seconds[new]) / statistics.median(seconds[old])
    ratios = [b / a for a, b in zip(seconds[old], seconds[new])]
    medians = " against ".join(f"{statistics.median(seconds[checkout]):.4f} s" for checkout in (new, old))
    print(f"{name:22} {ratio:.3f} ({medians}; rounds {min(ratios):.3f} to {max(ratios):.3f})", flush=True)
    return ratio


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, metavar="OLD_CHECKOUT")
    parser.add_argument("new", type=Path, metavar="NEW_CHECKOUT", nargs="?", default=ROOT)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--bound", type=float, default=3.0, help="percent by which the new one may be slower")
    parser.add_argument("--only", default=",".join(MEASURED), help="some of the default")
    parser.add_argument("--measure", choices=MEASURED, help=argparse.SUPPRESS)  # how this file calls itself
    parser.add_argument("--make-set", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--set", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    names = args.only.split(",")
    if not set(names) <= set(MEASURED):
        parser.error(f"--only {args.only}: must be some of {','.join(MEASURED)}")
    old, new = args.old.resolve(), args.new.resolve()
    sys.path[0] = str(old / "benchmarks")
    if args.measure or args.make_set:
        import insight

        if Path(insight.__file__).parents[1] != old:
            raise SystemExit(f"imported {insight.__file__}")
        print(measure(args.measure, args.set) if args.measure else make_set(args.make_set))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        rec_path = call(new, "--make-set", folder) if "loader" in names else ""
        print(f"{processor()}; {args.rounds} rounds; seconds of {new} to {old}")
        ratios = [compare(name, old, new, args.rounds, rec_path) for name in names]
    return 1 if max(ratios) > 1 + args.bound / 100 else 0


if __name__ == "__main__":
    sys.exit(main())
