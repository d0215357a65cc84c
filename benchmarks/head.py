"""One step of the ArcFace head: ours against MXNet's stock operators, alternating, and the peak memory of each.

    python benchmarks/head.py [--batch-size 512] [--classes 85742] [--emb-size 512] [--rounds 5]
    python benchmarks/head.py --margins NAME,…
    python benchmarks/head.py --centres 3
    python benchmarks/head.py --classes 1000000 --emb-size 128 --batch-size 64 --sample-rate 0.1
    python benchmarks/head.py --classes 1000000 --ranks 2

A step is logits, margin, softmax, the gradients of embedding and class weights, and SGD with momentum. There are two
stock forms, hybridised with static memory: InsightFace's graph (a one-hot margin and SoftmaxOutput), and the same with
SoftmaxCrossEntropyLoss. Unlike ours, neither counts hits. Rounds run A B C A B C in one process; the results are the
ratios of the medians, because absolute times drift on a shared machine. Peak memory is that of a separate process
during three steps, minus its memory before them: it includes weights, gradient and momentum.

With ``--margins adaface,curricularface`` (or ``all``), ours with ArcFace is compared with ours with these margins; with
``--centres K``, ours with K centres a class with ours with one; with ``--sample-rate R``, ours with that share of the
classes in each step with ours with all. With ``--ranks W``, ours is compared with what one of W ranks has to do with
``--shard-classes``: its classes, and the samples of all ranks, which share the batch; what the others would answer is
made up, and nothing is sent: the time is that of its computation alone. The stock forms are left out in all of these.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import statistics
import subprocess
import sys
import time

import numpy as np

from insight._mxnet import keep_freed_memory, mx
from insight.feed.loader import Batch
from insight.machine.cores import cpu_threads
from insight.margins import margins
from insight.objectives.classification import Classification
from insight.ranks.group import Ranks

S, M = 64.0, 0.5
SGD = {"learning_rate": 0.01, "momentum": 0.9, "wd": 5e-4}


class StockHead(mx.gluon.HybridBlock):
    """ArcFace with a one-hot margin over the (B, C) logits, as in InsightFace's symbol."""

    def __init__(self, classes: int, embedding_size: int, softmax_output: bool):
        super().__init__()
        self.classes = classes
        self.softmax_output = softmax_output
        self.weight = self.params.get("weight", shape=(classes, embedding_size))

    def hybrid_forward(self, F, x, label, weight):
        x = F.L2Normalization(x) * S
        fc7 = F.FullyConnected(x, F.L2Normalization(weight), no_bias=True, num_hidden=self.classes)
        zy = F.pick(fc7, label, axis=1)
        cos = zy / S
        sin = F.sqrt(F.maximum(1.0 - cos * cos, 1e-6))
        new = F.where(cos > -math.cos(M), (cos * math.cos(M) - sin * math.sin(M)) * S, zy - S * M * math.sin(M))
        one_hot = F.one_hot(label, depth=self.classes)
        fc7 = fc7 + F.broadcast_mul(one_hot, F.expand_dims(new - zy, 1))
        if self.softmax_output:  # its gradient is that of the sum, as with the loss below
            return F.SoftmaxOutput(fc7, label)
        return -F.pick(F.log_softmax(fc7), label)  # SoftmaxCrossEntropyLoss


def stock_step(weight: np.ndarray, softmax_output: bool):
    """A function that runs one stock step and waits for it, and the parameter of the weights."""
    head = StockHead(*weight.shape, softmax_output)
    head.weight.initialize(mx.init.Zero())
    head.weight.set_data(mx.nd.array(weight))
    head.hybridize(static_alloc=True, static_shape=True)
    trainer = mx.gluon.Trainer(head.collect_params(), "sgd", SGD, kvstore=None)

    def step(embedding, label):
        embedding.attach_grad()
        with mx.autograd.record():
            result = head(embedding, label)
        result.backward()
        trainer.step(len(label))
        mx.nd.waitall()

    return step, head.weight


class AlikeRanks(Ranks):
    """Rank 0 of W, whose others have what it has."""

    rank = 0

    def __init__(self, size: int):
        self.size = size

    def sum(self, name, array):
        return array * self.size

    def max(self, name, array):
        return array

    def gather(self, name, array):
        if isinstance(array, np.ndarray):
            return np.concatenate([array] * self.size)
        return mx.nd.concat(*[array] * self.size, dim=0)

    def scatter_sum(self, name, array):
        return array[: len(array) // self.size] * self.size

    def broadcast(self, name, array, root=0):
        return array


def our_step(weight: np.ndarray, name: str = "arcface", centres: int = 1, sample_rate: float = 1.0, ranks: int = 1):
    """A function that runs one step of this project's classifier and waits for it, and the parameter of the weights.

    Each class has the same centre several times where it has several: the first wins, and the others stay.
    """
    kind = margins.get(name)
    margin = kind(margin_s=S, margin_m=M) if name == "arcface" else kind(**kind.example)
    more = {"shard_classes": ranks > 1, "sample_rate": sample_rate}
    classifier = Classification(margin, *weight.shape, centres=centres, **more)
    classifier.join(AlikeRanks(ranks))
    classifier.initialize(mx.init.Zero(), [mx.cpu()])
    begin, end = AlikeRanks(ranks).span(len(weight))
    rows = classifier.weight.data()
    rows[:] = weight[begin:end] if centres == 1 else weight[begin:end].repeat(centres, axis=0)  # without a copy
    trainer = mx.gluon.Trainer(classifier.params, "sgd", SGD, kvstore=None)
    numbers = itertools.count()

    def step(embedding, label):
        own = len(label) // ranks
        classifier.learn([embedding[:own]], Batch(None, label[:own], None, None), next(numbers))
        trainer.step(len(label))
        mx.nd.waitall()

    return step, classifier.weight


STOCK = {
    "stock, SoftmaxOutput": lambda weight: stock_step(weight, True),
    "stock, cross entropy": lambda weight: stock_step(weight, False),
}


def chosen_steps(args) -> dict:
    """Name to a function that builds it; the first is what the others are compared with."""
    if not args.margins and args.centres == args.sample_rate == args.ranks == 1:
        return {"ours": our_step, **STOCK}
    named = filter(None, list(margins) if args.margins == "all" else args.margins.split(","))
    steps = {name: functools.partial(our_step, name=name) for name in dict.fromkeys(["arcface", *named])}
    if args.centres > 1:
        steps[f"arcface, {args.centres} centres"] = functools.partial(our_step, centres=args.centres)
    if args.sample_rate < 1:
        steps[f"arcface, rate {args.sample_rate:g}"] = functools.partial(our_step, sample_rate=args.sample_rate)
    if args.ranks > 1:
        more = {"ranks": args.ranks, "sample_rate": args.sample_rate}
        steps[f"arcface, 1 of {args.ranks} ranks"] = functools.partial(our_step, **more)
    return steps


def made_up(args) -> tuple:
    """(embedding, label, weight): the same in all processes."""
    draw = np.random.default_rng(0)
    embedding = mx.nd.array(draw.standard_normal((args.batch_size, args.emb_size), np.float32))
    label = mx.nd.array(draw.integers(0, args.classes, args.batch_size))
    weight = draw.standard_normal((args.classes, args.emb_size), np.float32)
    weight *= 0.01  # in place: a copy, even one that is freed, would be the process's peak
    return embedding, label, weight


def resident(kind: str) -> int:
    """Resident memory of this process in MB: current (VmRSS) or peak (VmHWM; ru_maxrss would include the parent's)."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith(kind))


def measure_peak(name: str, args) -> None:
    """Print the peak memory of three steps, minus the memory before the head was built."""
    embedding, label, weight = made_up(args)
    mx.nd.waitall()
    before = resident("VmRSS")
    step, _ = chosen_steps(args)[name](weight)
    for _ in range(3):
        step(embedding, label)
    print(resident("VmHWM") - before)


def measure_times(args) -> dict:
    """Seconds of each round, by name."""
    embedding, label, weight = made_up(args)
    steps, weights = {}, {}
    for name, build in chosen_steps(args).items():
        steps[name], weights[name] = build(weight)
    seconds: dict = {name: [] for name in steps}
    for round_number in range(args.rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step(embedding, label)
            if round_number:  # the first compiles
                seconds[name].append(time.perf_counter() - start)
    if "ours" not in steps:
        return seconds
    ours = weights["ours"].data()
    for name in steps:  # times are comparable only if the steps are the same
        moved = mx.nd.abs(weights[name].data() - ours).max().asscalar() / np.abs(ours.asnumpy() - weight).max()
        if not moved < 1e-3:
            raise SystemExit(f"{name}: its weights differ from ours (by {moved:.2g} of the update)")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--classes", type=int, default=85742, help="85,742: InsightFace's cleaned MS1M")
    parser.add_argument("--emb-size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--margins", default="", help="instead of the stock forms: margins by name, or all")
    parser.add_argument("--centres", type=int, default=1, help="instead of the stock forms: so many centres a class")
    parser.add_argument(
        "--sample-rate", type=float, default=1.0, help="instead of the stock forms: such a share of classes"
    )
    parser.add_argument("--ranks", type=int, default=1, help="instead of the stock forms: one of so many ranks")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)  # used by the child process
    args = parser.parse_args()
    keep_freed_memory()
    if args.peak_of:
        measure_peak(args.peak_of, args)
        return
    peaks = {}
    for name in chosen_steps(args):
        command = [sys.executable, __file__, *sys.argv[1:], "--peak-of", name]
        peaks[name] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    seconds = measure_times(args)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    for name, times in seconds.items():
        print(
            f"{name:21} median {median[name]:.3f} s, min {min(times):.3f}, max {max(times):.3f}; "
            f"peak {peaks[name]} MB above the start"
        )
    print(f"threads {cpu_threads(None)}, batch {args.batch_size}, {args.classes} classes of {args.emb_size}")
    first, *others = seconds
    for name in others:
        if first != "ours":
            slower, larger = median[name] / median[first], peaks[name] / peaks[first]
            print(f"{name}: {slower:.2f} x the time of {first}, {larger:.2f} x the peak")
        else:
            faster, leaner = median[name] / median[first], peaks[first] / peaks[name]
            print(f"against {name}: {faster:.2f} x as fast at {leaner:.2f} x the peak memory")


if __name__ == "__main__":
    main()
