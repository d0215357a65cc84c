"""Which settings help where images are few: each of small.env's left out, and each lever of train-softmax added.

    python benchmarks/levers.py SET --output WORK [--target val] [--seeds 0,1,2] [--epochs 5] [--only NAME,…]
        [-- OPTIONS OF TRAIN-SOFTMAX]

SET is a folder with train.rec and, beside it, pairs of other people (val.bin). Each training is MobileFaceNet with
ArcFace from random weights, batches of 64, along a cosine. "small.env" has the settings of
recipes/mobilefacenet/small.env; in the others, one of these is that of the published recipe, or a lever is added.
Trainings run one after the other, seed by seed, and a run that was stopped goes on: what is in WORK is not computed
again.

The table has the accuracy on the target of each seed and on average, and the mean difference to small.env of the same
seeds, with its standard error. With --ema, it is the accuracy of the averaged weights.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Optional

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "import sys; from insight.cli import main; sys.exit(main())"
PRESET = "small.env"
PUBLISHED = {"--wd": "0.00004", "--fc7-wd-mult": "10", "--color": "0", "--cutoff": "0"}
LEVERS = {
    **{"--clip-norm": "5", "--ema": "0.999", "--interclass-filter": "0.4", "--degrade": "0.2"},
    **{"--version-se": "1", "--version-eca": "1"},
}
TRAINING = {
    **{"--network": "y1", "--emb-size": "128", "--loss-type": "arcface", "--per-batch-size": "64", "--lr": "0.1"},
    **{"--warmup": "0.5", "--lr-schedule": "cosine", "--lr-unit": "epochs", "--verbose": "1000000"},
}


def preset() -> Dict[str, str]:
    """The options in EXTRA of small.env."""
    script = 'stage=softmax; . "$1"; echo $EXTRA'
    words = subprocess.run(
        ["bash", "-c", script, "-", str(ROOT / "recipes/mobilefacenet" / PRESET)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    return dict(zip(words[::2], words[1::2]))


def variants() -> Dict[str, Dict[str, str]]:
    """Name: options."""
    settings = preset()
    found = {PRESET: settings}
    for option in settings:
        found[f"{option} {PUBLISHED[option]}"] = {**settings, option: PUBLISHED[option]}
    found["the published recipe"] = PUBLISHED
    for option, value in LEVERS.items():
        found[f"{option} {value}"] = {**settings, option: value}
    return found


def accuracy(prefix: Path, target: str) -> Optional[float]:
    """In %, after the last step; of the averaged weights where there are any. None before the end."""
    log = Path(f"{prefix}-log.jsonl")
    last: Dict[str, dict] = {}
    for line in log.read_text().splitlines() if log.exists() else ():
        row = json.loads(line)
        if row["kind"] == "verification" and row["step"]:
            last[row["target"]] = row
    row = last.get(f"{target}-ema") or last.get(target)
    return row and 100 * row["accuracy"]


def train(args, options: Dict[str, str], seed: int, prefix: Path) -> float:
    """Train, or go on where a training was stopped; returns the accuracy."""
    done = accuracy(prefix, args.target)
    if done is not None:
        return done
    given = {**TRAINING, **options, "--end-epoch": str(args.epochs), "--seed": str(seed)}
    words = [word for option in given.items() for word in option]
    words += ["--data-dir", args.set, "--target", args.target, "--prefix", str(prefix), *args.training]
    words += ["--resume"] if Path(f"{prefix}-resume.npz").exists() else []
    prefix.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{prefix}-output.txt", "a") as log:
        status = subprocess.run([sys.executable, "-c", COMMAND, "train-softmax", *words], stdout=log, stderr=log)
    done = accuracy(prefix, args.target)
    if status.returncode or done is None:
        sys.exit(f"{prefix}-output.txt: the training ended with {status.returncode}")
    return done


def table(results: Dict[str, Dict[int, float]]) -> Table:
    """Rows of means, in the order of the variants."""
    shown = Table("settings", "mean", "each", f"difference to {PRESET}")
    for name, by_seed in results.items():
        each = ", ".join(f"{value:.2f}" for value in by_seed.values())
        differences = [value - results[PRESET][seed] for seed, value in by_seed.items() if seed in results[PRESET]]
        shown.add_row(
            name, f"{statistics.mean(by_seed.values()):.2f}", each, "" if name == PRESET else spread(differences)
        )
    return shown


def spread(differences: List[float]) -> str:
    """Their mean, and its standard error if there are several."""
    if not differences:
        return ""
    mean = f"{statistics.mean(differences):+.2f}"
    if len(differences) == 1:
        return mean
    return f"{mean} +- {statistics.stdev(differences) / len(differences) ** 0.5:.2f}"


def main() -> None:
    """See the top of this file."""
    given = sys.argv[1:]
    cut = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", help="folder of the set and of the pairs")
    parser.add_argument("--output", required=True, type=Path, metavar="WORK")
    parser.add_argument("--target", default="val", help="pairs of other people: the name of a .bin in SET")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--only", default="", help=f"rows of the table to train beside {PRESET}, comma-separated")
    args = parser.parse_args(given[:cut])
    args.training = given[cut + 1 :]
    chosen = variants()
    unknown = set(filter(None, args.only.split(","))) - set(chosen)
    if unknown:
        sys.exit(f"--only {min(unknown)}: want some of {', '.join(chosen)}")
    if args.only:
        chosen = {name: options for name, options in chosen.items() if name in (PRESET, *args.only.split(","))}
    results: Dict[str, Dict[int, float]] = {}
    for seed in map(int, args.seeds.split(",")):
        for name, options in chosen.items():
            prefix = args.output / f"{name.strip('-').replace(' ', '_')}-{seed}" / "model"
            results.setdefault(name, {})[seed] = train(args, options, seed, prefix)
            print(f"seed {seed}, {name}: {results[name][seed]:.2f}", flush=True)
    Console(width=140).print(table(results))


if __name__ == "__main__":
    main()
