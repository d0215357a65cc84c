"""Predicted against measured memory of training runs in separate processes, including saves and verification.

    python benchmarks/memory.py [--networks y1,r18,r50] [--classes 10000,300000,1100000] [--batch-sizes 8]
    python benchmarks/memory.py --networks r50 --classes 10000 --batch-sizes 8,16 --dtype bfloat16
    python benchmarks/memory.py --networks y1 --classes 300000 --devices cpu,cpu --no-verification

A run trains a few steps on a small made-up set whose property has the given number of classes, verifies before the
first and after the last step, and saves a checkpoint and several states. The prediction is logged at its start; the
measurement is the peak of its resident memory (VmHWM). With --resume, each run is resumed for one more step, and the
larger peak is used. The largest default case needs 9 GB of memory and 8 GB of disk.
"""

from __future__ import annotations

import argparse
import itertools
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from insight import nets
from insight.formats import evalbin, property
from insight.formats.recordio import RecordWriter

RUN = """
import sys
from insight.cli import main
status = main(sys.argv[1:])
with open("/proc/self/status") as lines:
    print("peak", next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")))
sys.exit(status)
"""
SIDE = 112
PREDICTED = re.compile(r"predicted memory: ([\d.]+) GB: (.*)")


def made_up_set(folder: Path, classes: int, images: int, pairs: int) -> None:
    """Write a set of noise as JPEGs, two images of each of a few identities among ``classes``, and val.bin."""
    draw = np.random.default_rng(0)

    def image() -> bytes:
        return cv2.imencode(".jpg", draw.integers(0, 256, (SIDE, SIDE, 3), np.uint8))[1].tobytes()

    labels = np.linspace(0, classes - 1, images // 2).astype(int)
    with RecordWriter(str(folder / "train.rec")) as records:
        for key in range(images):
            records.write(key, image(), float(labels[key // 2]), key)
    property.write_property(folder, property.Property(classes, SIDE, SIDE))
    evalbin.write_bin(folder / "val.bin", [image() for _ in range(2 * pairs)], np.arange(pairs) % 2 == 0)


def train(folder: Path, network: str, batch_size: int, more: list) -> tuple:
    """(predicted bytes, its parts, peak bytes) of a run; if it fails, the error instead of the parts."""
    size = nets.family(network).default_embedding_size
    options = {
        "--data-dir": folder,
        "--prefix": folder / "model",
        "--network": network,
        "--emb-size": size,
        "--per-batch-size": batch_size,
        "--lr": 1e-4,
        "--verbose": 1000,
        "--save-every": 2,
        "--frequent": 1,
        "--ckpt": 2,
    }
    command = [sys.executable, "-c", RUN, "train-softmax", *map(str, itertools.chain(*options.items())), *more]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return 0, done.stderr.strip().splitlines()[-1], 0
    predicted = PREDICTED.search(done.stdout)
    return float(predicted[1]) * 1e9, predicted[2], int(done.stdout.split()[-1])


def measure(args, network: str, classes: int, batch_size: int) -> tuple:
    """Result of one case, as from :func:`train`."""
    count = len(args.devices.split(","))
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        made_up_set(Path(folder), classes, max(64, batch_size * count), args.pairs)
        more = ["--devices", args.devices, "--dtype", args.dtype, "--target", "val" if args.verification else ""]
        predicted, parts, peak = train(Path(folder), network, batch_size, [*more, "--max-steps", str(args.steps)])
        if args.resume and peak:
            longer = ["--max-steps", str(args.steps + 1), "--resume"]
            peak = max(peak, train(Path(folder), network, batch_size, [*more, *longer])[2])
    return predicted, parts, peak


def numbers(text: str) -> list:
    """Parse ``8,16``."""
    return [int(word) for word in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="y1,r18,r50")
    parser.add_argument("--classes", type=numbers, default=[10_000, 300_000, 1_100_000])
    parser.add_argument("--batch-sizes", type=numbers, default=[8], help="images per device")
    parser.add_argument("--devices", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--no-verification", dest="verification", action="store_false")
    parser.add_argument("--pairs", type=int, default=20, help="pairs of the verification set")
    parser.add_argument("--steps", type=int, default=4, help="from 3 steps, training has allocated all its memory")
    parser.add_argument("--resume", action="store_true", help="also measure a resumed run")
    parser.add_argument("--folder", help="folder for temporary sets and runs; by default the system's")
    args = parser.parse_args()
    table = Table("network", "classes", "batch", "predicted GB", "measured GB", "ratio", "parts of the prediction")
    for case in itertools.product(args.networks.split(","), args.classes, args.batch_sizes):
        predicted, parts, peak = measure(args, *case)
        figures = (f"{predicted / 1e9:.2f}", f"{peak / 1e9:.2f}", f"{predicted / peak:.3f}") if peak else ("", "", "")
        print(*case, *figures, parts, file=sys.stderr, flush=True)
        table.add_row(*map(str, case), *figures, parts)
    Console(width=None if sys.stdout.isatty() else 200).print(table)


if __name__ == "__main__":
    main()
