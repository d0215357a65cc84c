"""Held-out accuracy over minutes of training, on the same faces: InsightFace's formulation, PyTorch, and ours.

    python3 -m venv torch-env && torch-env/bin/pip install torch==2.13.0 numpy
    python benchmarks/learning.py --data SET --torch-python torch-env/bin/python --minutes 10 --output learning.csv

SET is a folder with train.rec and, beside it, the pairs of other people (--target val: val.bin). Each contender trains
MobileFaceNet with ArcFace from random weights for so many minutes, one after the other, in a process of its own:

    stock           InsightFace's graph, one-hot margin and Module, on MXNet's own operators
    torch eager     PyTorch's layers
    torch compiled  torch.compile and channels_last, as its documentation recommends for speed
    insight         the steps of `insight train-softmax`

All begin with weights of the same distribution and take the same batches of 64 in the same order, already decoded, with
the same threads, SGD and schedule: the rate rises in the first twentieth of the minutes and falls to 0 along a cosine,
so that each uses its minutes to the end. Compilation, and the embedding of the held-out images after each minute, are
not counted. The accuracy is that of ten folds over image and mirror image. With --seeds N, N runs of each, and their
mean. Writes the CSV, and a picture beside it (PNG).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, NamedTuple

import numpy as np
from learning_clock import BATCH

from insight.faces.unit import unit_rows
from insight.formats.faceset import FaceSet
from insight.images.pixels import decode_rgb
from insight.plots.style import name_above, plain_axes
from insight.verify.folds import FoldAccuracy, kfold_accuracy
from insight.verify.verification import EvalSet, find_sets

HERE = Path(__file__).parent
TORCH, MXNET = "learning_torch.py", "learning_mxnet.py"
CONTENDERS = {
    "stock": (MXNET, "stock"),
    "torch eager": (TORCH, "eager"),
    "torch compiled": (TORCH, "compiled"),
    "insight": (MXNET, "insight"),
}


class Point(NamedTuple):
    """A contender's state after a minute."""

    contender: str
    seed: int
    minute: int
    images: int
    accuracy: float
    std: float


def unpack(data: str, target: str, folder: Path) -> EvalSet:
    """Write the decoded images of the set, its labels, and the held-out images and mirror images; returns the pairs."""
    with FaceSet.open(data) as faces:
        images = np.stack([decode_rgb(faces.payload(i), "image").transpose(2, 0, 1) for i in range(len(faces))])
        np.save(folder / "labels.npy", faces.labels.astype(np.int64))
    np.save(folder / "images.npy", images)
    (pairs,), *_ = find_sets(data, [target])
    held_out = np.stack([pairs.source.pixels(i, images.shape[2:]) for i in range(len(pairs.source))])
    np.save(folder / "held_out.npy", np.concatenate([held_out, held_out[:, :, :, ::-1]]))
    return pairs


def accuracy_of(rows: np.ndarray, pairs: EvalSet) -> FoldAccuracy:
    """Of ten folds, from the embeddings of all images and then of all mirror images."""
    unit = unit_rows(np.sum(np.split(rows.astype(np.float64), 2), axis=0))
    distance = np.square(unit[pairs.pairs[:, 0]] - unit[pairs.pairs[:, 1]]).sum(axis=1)
    return kfold_accuracy(distance, pairs.issame)


def train(name: str, seed: int, data: Path, pairs: EvalSet, args: argparse.Namespace) -> List[Point]:
    """Run a contender in a process of its own."""
    script, kind = CONTENDERS[name]
    python = args.torch_python if script == TORCH else sys.executable
    paths = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    huge_pages = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    environment = {**os.environ, **huge_pages, "OMP_NUM_THREADS": str(args.threads), "PYTHONPATH": paths}
    subprocess.run([python, HERE / script, data, str(args.minutes), str(seed), kind], env=environment, check=True)
    points = []
    for line in (data / "steps.jsonl").read_text(encoding="utf-8").splitlines():
        done = json.loads(line)
        accuracy = accuracy_of(np.load(data / f"minute-{done['minute']}.npy"), pairs)
        points.append(
            Point(name, seed, done["minute"], done["steps"] * BATCH, float(accuracy.accuracy), float(accuracy.std))
        )
        print(f"{name}, seed {seed}, minute {done['minute']}: {points[-1].images} images, {points[-1].accuracy:.4f}")
    return points


def means(points: List[Point]) -> Dict[str, Dict[int, float]]:
    """Accuracy by contender and minute, over the seeds."""
    found: Dict[str, Dict[int, list]] = {}
    for point in points:
        found.setdefault(point.contender, {}).setdefault(point.minute, []).append(point.accuracy)
    return {name: {m: statistics.mean(values) for m, values in of.items()} for name, of in found.items()}


def write(points: List[Point], path: Path) -> None:
    """The CSV."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(Point._fields)
        rows.writerows((*point[:4], f"{point.accuracy:.5f}", f"{point.std:.5f}") for point in points)


def draw(curves: Dict[str, Dict[int, float]], path: Path) -> None:
    """The picture."""
    figure, axes = plain_axes()
    for name, curve in curves.items():
        axes.plot(list(curve), [100 * value for value in curve.values()], label=name, marker="o", markersize=3)
    axes.set_xlabel("minutes of training")
    axes.set_ylabel("held-out accuracy, %")
    name_above(figure, 2)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of the set and its verification pairs")
    parser.add_argument("--target", default="val", help="name of the .bin with the pairs of held-out people")
    parser.add_argument("--torch-python", required=True, help="the Python that has PyTorch")
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=1, help="runs of each contender")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", choices=sorted(CONTENDERS), nargs="+", default=list(CONTENDERS), metavar="NAME")
    parser.add_argument("--output", type=Path, required=True, help="CSV to write; the picture gets its name with .png")
    args = parser.parse_args()
    for path in (args.output, args.output.with_suffix(".png")):
        if path.exists() or not path.parent.is_dir():  # before minutes are spent
            parser.error(f"--output {args.output}: {path} exists, or its folder does not; name another")
    points: List[Point] = []
    with tempfile.TemporaryDirectory() as folder:
        pairs = unpack(args.data, args.target, Path(folder))
        for seed in range(args.seeds):
            for name in args.only:
                points += train(name, seed, Path(folder), pairs, args)
                write(points, args.output)
    curves = means(points)
    draw(curves, args.output.with_suffix(".png"))
    print("minute".ljust(16) + "".join(f"{minute:8d}" for minute in range(1, args.minutes + 1)))
    for name, curve in curves.items():
        print(name.ljust(16) + "".join(f"{100 * value:8.2f}" for value in curve.values()))


if __name__ == "__main__":
    main()
