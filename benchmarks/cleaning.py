"""Wrong images put under other people: how many does a cleaning find, and how many right ones does it cost?

    python benchmarks/cleaning.py SET --output WORK --pretrained prefix,epoch [--share 0.2] [--at-least 2] [--seed 0]
        [--model M] [--angles 65,70,75,80] [--threshold 0.2,0.3,0.4] [-- TRAINING OPTIONS]

Of SET's identities with --at-least images, the images of a --share, drawn by --seed, are put under other people, each
under one drawn at random: WORK/dirty. WORK/clean is the same without them. A training on the dirty set with --centres 3
follows, from --pretrained or from random weights; what stands behind -- is given to train-softmax, such as --max-steps
and --freeze-backbone-steps, which say how long it takes. Then dataset-clean works by the centres of that training
(WORK/by_centres is its set) and by thresholds, with --model, by default the network that the training began with, or
else its own.

The table counts, for each rule, how many of the wrong images it drops (found), and how many of the right ones (lost).
No rule drops copies here. An identity of two images of two people has no right answer: half of what is dropped there
is lost, so look at --at-least 3 and more too. WORK must not exist: nothing is overwritten.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from insight.curate.by_centres import ANGLE
from insight.formats.faceset import FaceSet
from insight.sets.rewrite import new_set

COMMAND = "import sys; from insight.cli import main; sys.exit(main())"
FC7_ONLY = ["--freeze-backbone-steps", "1000", "--max-steps", "1000"]
TRAINING = {
    **{"network": "y1", "emb-size": "128", "loss-type": "arcface", "centres": "3", "per-batch-size": "64"},
    **{"lr": "0.1", "ckpt": "2", "target": ""},
}


def chosen(labels: np.ndarray, least: int) -> np.ndarray:
    """Positions of the images of identities with at least so many."""
    return np.flatnonzero(np.bincount(labels)[labels] >= least)


def mislabelled(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """(N,) labels of which a share is another one, drawn at random."""
    draw, dirty, known = np.random.default_rng(seed), labels.copy(), np.unique(labels)
    wrong = draw.permutation(len(labels))[: round(share * len(labels))]
    own = np.searchsorted(known, labels[wrong])
    dirty[wrong] = known[(own + draw.integers(1, len(known), len(wrong))) % len(known)]
    return dirty


def write(faces: FaceSet, folder: Path, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Write a set of these images under these labels; returns the images in its order."""
    order = images[np.argsort(labels, kind="stable")]
    with new_set(str(folder), faces.image_size, len(images)) as (stream, _):
        for label in np.unique(labels):
            stream.write(map(faces.payload, images[labels == label].tolist()))
    return order


def make_sets(args, work: Path) -> np.ndarray:
    """Write the dirty and the clean set; returns which images of the dirty one are wrong, in its order."""
    with FaceSet.open(args.set) as faces:
        images = chosen(faces.labels, args.at_least)
        labels = faces.labels[images]
        dirty = mislabelled(labels, args.share, args.seed)
        order = write(faces, work / "dirty", images, dirty)
        right = images[dirty == labels]
        write(faces, work / "clean", right, faces.labels[right])
        return ~np.isin(order, right)


def insight(*arguments: str) -> None:
    """Run a command; its output is shown only if it fails."""
    done = subprocess.run([sys.executable, "-c", COMMAND, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"insight {' '.join(arguments)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")


def train(args, work: Path) -> str:
    """Train on the dirty set; returns its last checkpoint."""
    options = [part for name, value in TRAINING.items() if value for part in (f"--{name}", value)]
    options += ["--target", "", "--data-dir", str(work / "dirty"), "--prefix", str(work / "centres" / "model")]
    if args.pretrained:
        options += ["--pretrained", args.pretrained]
    insight("train-softmax", *options, *(args.training or FC7_ONLY))
    epochs = sorted((work / "centres").glob("model-????.params"))
    return f"{work / 'centres' / 'model'},{int(epochs[-1].stem[-4:])}"


def clean(work: Path, name: str, *options: str) -> list:
    """Rows of the CSV of a cleaning of the dirty set; writes a set where ``--dry-run`` is not among the options."""
    report = work / f"{name}.csv"
    output = [] if "--dry-run" in options else ["--output", str(work / name)]
    insight("dataset-clean", str(work / "dirty"), *output, "--report", str(report), "--copy", "2", *options)
    with open(report, newline="", encoding="utf-8") as table:
        return list(csv.DictReader(table))


def line(name: str, dropped: np.ndarray, wrong: np.ndarray) -> str:
    """A row of the table."""
    found, lost = dropped & wrong, dropped & ~wrong
    shares = f"{100 * found.sum() / wrong.sum():5.1f} % found, {100 * lost.sum() / (~wrong).sum():5.1f} % lost"
    return f"{name:24} {shares}   ({found.sum()} of {wrong.sum()}, {lost.sum()} of {(~wrong).sum()})"


def main() -> None:
    begin = time.perf_counter()
    given = sys.argv[1:]
    cut = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", help="record set: folder, .rec or prefix")
    parser.add_argument("--output", required=True, help="folder for everything that is written")
    parser.add_argument("--pretrained", help="prefix,epoch that the training begins with")
    parser.add_argument("--model", help="prefix,epoch or .onnx for the thresholds")
    parser.add_argument("--share", type=float, default=0.2, help="of the images that are put under other people")
    parser.add_argument("--at-least", type=int, default=2, help="images of an identity")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--angles", default="65,70,75,80", help="largest angles to the dominant centre, degrees")
    parser.add_argument("--threshold", default="0.2,0.3,0.4", help="lowest cosines to the robust centre")
    args = parser.parse_args(given[:cut])
    args.training = given[cut + 1 :]
    work = Path(args.output)
    os.makedirs(work)
    wrong = make_sets(args, work)
    trained = train(args, work)
    minutes = (time.perf_counter() - begin) / 60
    rows = clean(work, "by_centres", "--by-centres", trained)
    print(f"{len(wrong)} images, {wrong.sum()} of them wrong; {trained} after {minutes:.1f} minutes", flush=True)
    cosines, decided = (np.array([convert(row) for row in rows]) for convert in (_cosine, _is_dropped))
    print(line(f"by centres, {ANGLE:g} degrees", decided, wrong), flush=True)
    for angle in map(float, args.angles.split(",")):
        if angle != ANGLE:
            print(line(f"by centres, {angle:g} degrees", cosines < math.cos(math.radians(angle)), wrong))
    for threshold in args.threshold.split(","):
        options = ["--model", args.model or args.pretrained or trained, "--threshold", threshold, "--dry-run"]
        rows = clean(work, f"threshold-{threshold}", *options)
        print(line(f"thresholds, cosine {threshold}", np.array([_is_dropped(row) for row in rows]), wrong))


def _cosine(row: dict) -> float:
    return float(row["cosine"])


def _is_dropped(row: dict) -> bool:
    return row["decision"] == "drop"


if __name__ == "__main__":
    main()
