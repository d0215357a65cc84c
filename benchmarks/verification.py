"""Verification of a .bin from its file to its accuracy: the straightforward way against ours.

    python benchmarks/verification.py --model models/y1,1 --bin lfw.bin [--pairs 1000] [--rounds 2]

``straightforward`` decodes every image of every pair and its mirror image into float arrays, as InsightFace's load_bin
does, and embeds all of them with the checkpoint's symbol as it is. ``mxnet`` and ``auto`` are ours: distinct images
only, decoded ahead in batches, on MXNet alone or on the fastest runtime that is installed. Each round runs every one
once, in a process of its own; opening the model counts, importing does not.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
from insight.machine.cores import physical_cores  # noqa: E402

WAYS = ("straightforward", "mxnet", "auto")
PLAIN_BATCH = 32  # InsightFace's default


def straightforward(spec: str, path: str) -> tuple:
    """(accuracy, std, what ran)."""
    from insight.faces.unit import unit_rows
    from insight.formats import evalbin
    from insight.images.pixels import decode_rgb
    from insight.speed.plain import PlainMXNet
    from insight.verify.folds import kfold_accuracy

    images, issame = evalbin.read_bin(path)
    both = np.empty((2, len(images), 3, 112, 112), np.float32)
    for i, image in enumerate(images):
        both[0, i] = decode_rgb(image, str(i)).transpose(2, 0, 1)
        both[1, i] = both[0, i, :, :, ::-1]
    network = PlainMXNet(spec, PLAIN_BATCH)
    passes = [network(pixels) for pixels in both]
    unit = unit_rows((passes[0] + passes[1]).astype(np.float64))
    distance = np.square(unit[0::2] - unit[1::2]).sum(axis=1)
    folds = kfold_accuracy(distance, np.asarray(issame, bool), 10)
    return folds.accuracy, folds.std, "MXNet, the symbol as it is"


def ours(spec: str, path: str, engine: str, threads: int) -> tuple:
    """(accuracy, std, what ran)."""
    from insight import engines
    from insight.verify import verification

    network = engines.load(spec, engine=engine, threads=threads)
    result = verification.verify(network, verification.load_set(path), network.image_size)
    return result.folds.accuracy, result.folds.std, network.describe()


def measure(args) -> None:
    """Run one way; prints its figures as JSON."""
    from insight._mxnet import mx

    mx.nd.zeros(1).wait_to_read()
    start = time.perf_counter()
    plain = args.measure == WAYS[0]
    found = straightforward(args.model, args.bin) if plain else ours(args.model, args.bin, args.measure, args.threads)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([seconds, peak, *found]))


def run_child(args, name: str, path: str) -> list:
    own = ["--model", args.model, "--bin", path, "--threads", str(args.threads), "--measure", name]
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    command = [sys.executable, os.path.abspath(__file__), *own]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1])


def some_pairs(path: str, count: int, folder: str) -> str:
    """A .bin of pairs from all over another."""
    from insight.formats import evalbin

    images, issame = evalbin.read_bin(path)
    chosen = np.unique(np.linspace(0, len(issame) - 1, count).round().astype(int)).tolist()
    fewer = Path(folder) / "fewer.bin"
    evalbin.write_bin(fewer, [images[2 * i + side] for i in chosen for side in (0, 1)], [issame[i] for i in chosen])
    return str(fewer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="prefix,epoch")
    parser.add_argument("--bin", required=True, help="verification set, faces of 112x112")
    parser.add_argument("--pairs", type=int, help="so many of its pairs only")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--measure", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        return measure(args)
    runs: dict = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        path = some_pairs(args.bin, args.pairs, folder) if args.pairs else args.bin
        for _ in range(args.rounds):
            for name in WAYS:
                runs[name].append(run_child(args, name, path))
    median = {name: statistics.median(run[0] for run in found) for name, found in runs.items()}
    for name, found in runs.items():
        _, peak, accuracy, std, how = found[-1]
        print(
            f"{name:15} {median[name]:7.2f} s, ratio {median[WAYS[0]] / median[name]:5.2f}, peak {peak:5.0f} MB, "
            f"{accuracy:.5f}+-{std:.5f}; {how}"
        )


if __name__ == "__main__":
    main()
