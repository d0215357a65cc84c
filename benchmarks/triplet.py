"""Triplet training: picking, and mining in the batch against mining in bags and against a classification step.

    python benchmarks/triplet.py --picking
    python benchmarks/triplet.py --data-dir SET --pretrained PREFIX,EPOCH [--batch-size 150] [--negatives violating]

``--picking`` picks semi-hard triplets among 3,600 embeddings of 128 numbers, 720 people of 5 images, as the sampler
does for each bag; it includes distances and the order of the triplets, and not the embedding of the images.

The other compares whole steps of the trainer, decoding included, on a set and with a network of yours: ArcFace,
triplets mined in the batch, and triplets mined in bags. Rounds run A B C A B C in one process, the results are ratios
of medians. The time of a bag, most of which is embedding, is divided among the batches that it gives. The number of
triplets per second depends on how well the network separates the set: give the network that is to be fine-tuned.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import closing

import numpy as np

from insight._mxnet import mx
from insight.machine.cores import cpu_threads
from insight.mining import picking
from insight.mining.distances import to_unit
from insight.train.learner import Learner
from insight.train.start import prepare
from insight.train.train_options import TrainOptions

IMAGES, PEOPLE, SIZE = 3600, 720, 128
CASES = {"arcface": {"loss_type": "arcface"}, "batch": {"loss_type": "triplet"}, "bag": {"loss_type": "triplet_bag"}}


def time_picking(rounds: int) -> None:
    """Time what the sampler does with the embeddings of a bag."""
    draw = np.random.default_rng(0)
    labels = np.repeat(np.arange(PEOPLE), IMAGES // PEOPLE)
    rows = draw.normal(size=(PEOPLE, SIZE))[labels] + 1.1 * draw.normal(size=(IMAGES, SIZE))
    seconds = []
    for number in range(rounds + 1):
        start = time.perf_counter()
        unit, _ = to_unit(rows.astype(np.float32))
        pairs = picking.positive_pairs(labels)
        random = picking.generator(0, number)
        triplets = picking.joined(picking.pick(unit, labels, pairs, random.random(len(pairs)), 0.3))
        np.stack(triplets)[:, random.permutation(len(triplets))]
        seconds.append(time.perf_counter() - start)
    print(
        f"picking, threads {cpu_threads(None)}: median {statistics.median(seconds[1:]):.3f} s, "
        f"{len(triplets)} triplets of {len(pairs)} pairs in {IMAGES} images of {SIZE}"
    )


class Case:
    """A way to train, with its steps under way."""

    def __init__(self, args, more: dict):
        common = {"data_dir": args.data_dir, "pretrained": args.pretrained, "network": args.network, "target": ""}
        common.update(emb_size=args.emb_size, per_batch_size=args.batch_size, lr=0.005, mom=0.0, devices=args.devices)
        if more["loss_type"] != "arcface":
            common.update(images_per_identity=args.images_per_identity, triplet_alpha=args.triplet_alpha)
        if more["loss_type"] == "triplet":
            common.update(negatives=args.negatives)
        self.learner = Learner(prepare(TrainOptions(**common, **more)))
        self.loader = self.learner.setup.loader
        self.batches = self.learner.batches(0)
        self.seconds: list = []
        self.triplets: list = []
        self._steps = 0

    def step(self, counts: bool) -> None:
        """One step; seconds without those of a bag."""
        start, mining = time.perf_counter(), self.loader.mining
        figures, _ = self.learner.learn(next(self.batches), self._steps, frozen=False)
        mx.nd.waitall()
        self._steps += 1
        if counts:
            self.seconds.append(time.perf_counter() - start - (self.loader.mining - mining))
            self.triplets.append(float(figures["triplets"]) if "triplets" in figures else 0.0)

    @property
    def whole(self) -> float:
        """Median seconds of a step, with its share of a bag."""
        batches = self.loader.mined_batches
        return statistics.median(self.seconds) + (self.loader.mining / batches if batches else 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picking", action="store_true", help="time the picking in a bag alone")
    parser.add_argument("--data-dir", default="", help="training set")
    parser.add_argument("--pretrained", default="", help="the network that is fine-tuned, PREFIX,EPOCH; none: random")
    parser.add_argument("--network", default="y1")
    parser.add_argument("--emb-size", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=150)
    parser.add_argument("--images-per-identity", type=int, default=5)
    parser.add_argument("--triplet-alpha", type=float, default=0.3)
    parser.add_argument("--negatives", default="semi-hard", help="in the batch; bags have semi-hard ones")
    parser.add_argument("--devices", default="")
    parser.add_argument("--steps", type=int, default=3, help="of each way in a round")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if args.picking:
        time_picking(args.rounds)
        return
    cases = {name: Case(args, more) for name, more in CASES.items()}
    for round_number in range(args.rounds + 1):
        for case in cases.values():
            for _ in range(args.steps):
                case.step(counts=bool(round_number))  # the first round compiles
    for name, case in cases.items():
        with closing(case.batches):
            step, triplets = statistics.median(case.seconds), statistics.mean(case.triplets)
            rate = f"; {triplets:.0f} triplets a step, {triplets / case.whole:.1f} a second" if triplets else ""
            share = f", {case.whole:.3f} s with its share of a bag" if case.loader.mined_batches else ""
            print(f"{name:8} median step {step:.3f} s{share}{rate}")
    ratio = statistics.median(cases["batch"].seconds) / statistics.median(cases["arcface"].seconds)
    rates = {name: statistics.mean(cases[name].triplets) / cases[name].whole for name in ("batch", "bag")}
    print(
        f"{args.network}, threads {cpu_threads(None)}, batch {args.batch_size}: step batch/arcface {ratio:.3f}, "
        f"triplets per second batch/bag {rates['batch'] / rates['bag']:.2f}"
    )


if __name__ == "__main__":
    main()
