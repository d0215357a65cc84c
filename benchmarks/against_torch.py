"""One MobileFaceNet training step with ArcFace: this project against PyTorch, each in processes of its own, in turn.

    python3 -m venv torch-env && torch-env/bin/pip install torch==2.13.0 numpy
    python benchmarks/against_torch.py --torch-python torch-env/bin/python [--batch-size 64] [--rounds 3]

PyTorch runs as one would write it first (``eager``), and as its documentation advises for speed (``tuned``:
torch.compile, channels_last, bfloat16 autocast; it needs a C++ compiler). Ours runs in float32 and in bfloat16. All
have the same network, per-channel PReLU, 10,000 classes, SGD with momentum, threads and memory settings. Each round
runs every one once; a process gives the median of its steps, and the ratios are of the medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time

CLASSES, EMBEDDING, S, M = 10_000, 128, 64.0, 0.5
# MobileFaceNet: (residual units, their width, channels out), each behind a strided unit of the width given first
STAGES = ((128, 4, 128, 64), (256, 6, 256, 128), (512, 2, 256, 128))
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def our_step(batch_size: int, dtype: str):
    """A function that runs one step of this project's trainer and waits for it."""
    sys.path.insert(0, ROOT)
    from insight._mxnet import keep_freed_memory, mx

    keep_freed_memory()
    from insight.feed.loader import Batch
    from insight.train.model import Model, build_network
    from insight.train.optimizer import make_trainer
    from insight.train.options import TrainOptions

    options = TrainOptions(data_dir="-", network="y1", emb_size=EMBEDDING, dtype=dtype, margin_s=S, margin_m=M)
    devices = [mx.cpu(0)]
    model = Model(options, build_network(options, devices), CLASSES, devices)
    trainer = make_trainer(model.params, 0.9, 5e-4, 1.0)
    trainer.set_learning_rate(0.01)
    data = mx.nd.random.uniform(0, 255, (batch_size, 3, 112, 112))
    batch = Batch(data, mx.nd.floor(mx.nd.random.uniform(0, CLASSES, (batch_size,))), None, None)

    def step():
        model.backward(batch, 0)
        if model.usable():
            trainer.step(batch_size)
        mx.nd.waitall()

    return step


def torch_network():
    """MobileFaceNet in PyTorch's own layers."""
    import torch
    from torch import nn

    def unit(inputs, channels, kernel=1, stride=1, pad=0, groups=1, act=True):
        layers = [nn.Conv2d(inputs, channels, kernel, stride, pad, groups=groups, bias=False)]
        layers.append(nn.BatchNorm2d(channels, eps=1e-3))
        return nn.Sequential(*layers, nn.PReLU(channels)) if act else nn.Sequential(*layers)

    def bottleneck(inputs, width, out, stride):
        return nn.Sequential(unit(inputs, width), unit(width, width, 3, stride, 1, width), unit(width, out, act=False))

    class Residual(nn.Module):
        def __init__(self, body):
            super().__init__()
            self.body = body

        def forward(self, x):
            return x + self.body(x)

    layers, channels = [unit(3, 64, 3, 2, 1), unit(64, 64, 3, 1, 1, 64)], 64
    for down, count, width, out in STAGES:
        layers.append(bottleneck(channels, down, out, 2))
        layers += [Residual(bottleneck(out, width, out, 1)) for _ in range(count)]
        channels = out
    layers += [unit(channels, 512), unit(512, 512, 7, groups=512, act=False), nn.Flatten()]
    layers += [nn.Linear(512, EMBEDDING), nn.BatchNorm1d(EMBEDDING, eps=2e-5)]

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = nn.Sequential(*layers)
            self.weight = nn.Parameter(torch.randn(CLASSES, EMBEDDING) * 0.01)

        def forward(self, x, label):
            x = self.network((x - 127.5) * 0.0078125).float()
            cos = nn.functional.linear(nn.functional.normalize(x), nn.functional.normalize(self.weight))
            target = cos.gather(1, label[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
            moved = target * math.cos(M) - (1 - target**2).sqrt() * math.sin(M)
            moved = torch.where(target > -math.cos(M), moved, target - M * math.sin(M))
            return nn.functional.cross_entropy(cos.scatter(1, label[:, None], moved) * S, label)

    return Model()


def torch_step(batch_size: int, tuned: bool):
    """A function that runs one step in PyTorch."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    model = torch_network().train()
    data = torch.rand(batch_size, 3, 112, 112) * 255
    label = torch.randint(0, CLASSES, (batch_size,))
    if tuned:
        model = model.to(memory_format=torch.channels_last)
        data = data.to(memory_format=torch.channels_last)
    run = torch.compile(model) if tuned else model
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=tuned):
            loss = run(data, label)
        loss.backward()
        optimizer.step()

    return step


CONTENDERS = {
    "insight float32": lambda batch_size: our_step(batch_size, "float32"),
    "insight bfloat16": lambda batch_size: our_step(batch_size, "bfloat16"),
    "torch eager": lambda batch_size: torch_step(batch_size, False),
    "torch tuned": lambda batch_size: torch_step(batch_size, True),
}


def measure(name: str, batch_size: int, steps: int) -> None:
    """Print the median seconds of a step, as JSON; the first two, which compile, do not count."""
    step, seconds = CONTENDERS[name](batch_size), []
    for _ in range(steps + 2):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    print(json.dumps(statistics.median(seconds[2:])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-python", required=True, help="the Python that has PyTorch")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=6, help="timed steps a process")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--measure", choices=sorted(CONTENDERS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        return measure(args.measure, args.batch_size, args.steps)
    huge_pages = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    environment = {**os.environ, **huge_pages, "OMP_NUM_THREADS": str(args.threads)}
    seconds: dict = {name: [] for name in CONTENDERS}
    for _ in range(args.rounds):
        for name in CONTENDERS:
            python = args.torch_python if name.startswith("torch") else sys.executable
            own = ["--torch-python", "-", "--batch-size", str(args.batch_size), "--steps", str(args.steps)]
            command = [python, os.path.abspath(__file__), *own, "--measure", name]
            done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
            seconds[name].append(json.loads(done.stdout.splitlines()[-1]))
    median = {name: statistics.median(times) for name, times in seconds.items()}
    for name, times in seconds.items():
        runs = ", ".join(f"{t:.3f}" for t in times)
        print(f"{name:17} median {median[name]:.3f} s ({runs}); {args.batch_size / median[name]:.1f} images/s")
    for ours in ("insight float32", "insight bfloat16"):
        for theirs in ("torch eager", "torch tuned"):
            print(f"{theirs} / {ours}: {median[theirs] / median[ours]:.2f}")


if __name__ == "__main__":
    main()
