"""One training step in bfloat16 against float32, in turn, in one process.

    python benchmarks/half_precision.py [--network y1] [--batch-size 64] [--rounds 5]
    python benchmarks/half_precision.py --network r50 --batch-size 16

Both are the trainer's own steps: forward, ArcFace head, backward, the check for numbers that are not finite, update.
Weights, head and update are float32 in both. Rounds run A B A B; the medians' ratio is the figure: below 1 on a
processor with AVX-512 that lacks instructions for bfloat16. One without AVX-512 does not compute in it: there bfloat16
is left out.
"""

from __future__ import annotations

import argparse
import statistics
import time

from insight._mxnet import keep_freed_memory, mx
from insight.feed.loader import Batch
from insight.machine.cores import cpu_threads
from insight.objectives import create
from insight.train import precision
from insight.train.model import Model, build_network
from insight.train.optimizer import make_trainer
from insight.train.options import TrainOptions


def step_in(dtype: str, network: str, batch: Batch, classes: int):
    """A function that runs one step and waits for it."""
    devices = [mx.cpu(0)]
    options = TrainOptions(data_dir="-", network=network, dtype=dtype, emb_size=128 if network[0] == "y" else 512)
    if dtype != "float32":
        precision.try_out(lambda: build_network(options, devices), dtype, devices)
    model = Model(options, build_network(options, devices), create(options, classes), devices)
    trainer = make_trainer(model.params, 0.9, 5e-4, 1.0)
    trainer.set_learning_rate(1e-3)

    def step():
        model.backward(batch, 0)
        if model.usable():
            trainer.step(len(batch.label))
        mx.nd.waitall()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="y1")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--classes", type=int, default=10000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    keep_freed_memory()
    data = mx.nd.random.uniform(0, 255, (args.batch_size, 3, 112, 112))
    label = mx.nd.floor(mx.nd.random.uniform(0, args.classes, (args.batch_size,)))
    batch = Batch(data, label, None, None)
    steps = {"float32": step_in("float32", args.network, batch, args.classes)}
    try:
        steps["bfloat16"] = step_in("bfloat16", args.network, batch, args.classes)
    except precision.Unsupported as error:
        print(f"bfloat16: left out: {error}")
    seconds: dict = {name: [] for name in steps}
    for round_number in range(args.rounds + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if round_number > 1:  # the first ones compile
                seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    for name, times in seconds.items():
        rate = args.batch_size / median[name]
        print(f"{name:8} median {median[name]:.3f} s, min {min(times):.3f}, max {max(times):.3f}; {rate:.1f} images/s")
    if "bfloat16" in median:
        ratio = median["float32"] / median["bfloat16"]
        print(
            f"{args.network}, threads {cpu_threads(None)}, batch {args.batch_size}, ratio float32/bfloat16 {ratio:.2f}"
        )


if __name__ == "__main__":
    main()
