"""One MobileFaceNet training step with ArcFace: this project against PyTorch, in separate processes, alternating.

    python3 -m venv torch-env && torch-env/bin/pip install torch==2.13.0 numpy
    python benchmarks/against_torch.py --torch-python torch-env/bin/python [--batch-size 64] [--rounds 3]

PyTorch runs without optimisations (``eager``), and as its documentation recommends for speed (``compiled``:
torch.compile and channels_last; it needs a C++ compiler), the latter in float32 and under bfloat16 autocast. Ours
runs in float32 and in bfloat16. All have the same network, per-channel PReLU, 10,000 classes, SGD with momentum,
threads and memory settings. Each round runs each of them once; a process gives the median of its steps, and the ratios
are those of the medians over the rounds.

A processor without bfloat16 instructions does not compute in it, or is slower than in float32. Each side tests that
first and is skipped with the reason if bfloat16 is not faster. Contenders that take longer than --timeout are skipped
too.
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
# MobileFaceNet: (width of the strided unit, residual units after it, their width, output channels)
STAGES = ((128, 4, 128, 64), (256, 6, 256, 128), (512, 2, 256, 128))
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def our_step(batch_size: int, dtype: str):
    """A function that runs one step of this project's trainer and waits for it."""
    sys.path.insert(0, ROOT)
    from insight._mxnet import keep_freed_memory, mx

    keep_freed_memory()
    from insight.feed.loader import Batch
    from insight.objectives import create
    from insight.train.model import Model, build_network
    from insight.train.optimizer import make_trainer
    from insight.train.train_options import TrainOptions

    options = TrainOptions(data_dir="-", network="y1", emb_size=EMBEDDING, dtype=dtype, margin_s=S, margin_m=M)
    devices = [mx.cpu(0)]
    if dtype != "float32":
        _try_out(options, devices)
    model = Model(options, build_network(options, devices), create(options, CLASSES), devices)
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


class LeftOut(Exception):
    """The reason why a contender is skipped."""


def _try_out(options, devices: list) -> None:
    from insight.train import precision
    from insight.train.model import build_network

    try:
        note = precision.try_out(lambda: build_network(options, devices), options.dtype, devices).note
    except precision.Unsupported as error:
        raise LeftOut(str(error)) from None
    if note:
        raise LeftOut(note)


def torch_network(classes: int = CLASSES, embedding: int = EMBEDDING, s: float = S, m: float = M):
    """MobileFaceNet with an ArcFace head, in PyTorch's own layers."""
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
    layers += [nn.Linear(512, embedding), nn.BatchNorm1d(embedding, eps=2e-5)]

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = nn.Sequential(*layers)
            self.weight = nn.Parameter(torch.randn(classes, embedding) * 0.01)

        def forward(self, x, label):
            x = self.network((x - 127.5) * 0.0078125).float()
            cos = nn.functional.linear(nn.functional.normalize(x), nn.functional.normalize(self.weight))
            target = cos.gather(1, label[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
            moved = target * math.cos(m) - (1 - target**2).sqrt() * math.sin(m)
            moved = torch.where(target > -math.cos(m), moved, target - m * math.sin(m))
            return nn.functional.cross_entropy(cos.scatter(1, label[:, None], moved) * s, label)

    return Model()


def torch_step(batch_size: int, compiled: bool, dtype: str = "float32"):
    """A function that runs one step in PyTorch."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    low = dtype == "bfloat16"
    if low:
        _try_torch()
    model = torch_network().train()
    data = torch.rand(batch_size, 3, 112, 112) * 255
    label = torch.randint(0, CLASSES, (batch_size,))
    if compiled:
        model = model.to(memory_format=torch.channels_last)
        data = data.to(memory_format=torch.channels_last)
    run = torch.compile(model) if compiled else model
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            loss = run(data, label)
        loss.backward()
        optimizer.step()

    return step


def _try_torch() -> None:
    """Raise LeftOut if a convolution is slower in bfloat16 than in float32."""
    import torch

    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        data, weight = torch.rand(8, 64, 56, 56, dtype=dtype), torch.rand(64, 64, 3, 3, dtype=dtype)
        times = []
        for _ in range(4):
            start = time.perf_counter()
            torch.nn.functional.conv2d(data, weight, padding=1)
            times.append(time.perf_counter() - start)
        seconds[dtype] = min(times[1:])
    ratio = seconds[torch.bfloat16] / seconds[torch.float32]
    if ratio > 1:
        raise LeftOut(f"PyTorch's convolution takes {ratio:.1f} times as long in bfloat16 as in float32 here")


CONTENDERS = {
    "insight float32": lambda batch_size: our_step(batch_size, "float32"),
    "insight bfloat16": lambda batch_size: our_step(batch_size, "bfloat16"),
    "torch eager": lambda batch_size: torch_step(batch_size, False),
    "torch compiled": lambda batch_size: torch_step(batch_size, True),
    "torch compiled bfloat16": lambda batch_size: torch_step(batch_size, True, "bfloat16"),
}


def measure(name: str, batch_size: int, steps: int) -> None:
    """Print as JSON the median seconds of a step, without the first two, or the reason why it is skipped."""
    try:
        step, seconds = CONTENDERS[name](batch_size), []
    except LeftOut as reason:
        print(json.dumps(str(reason)))
        return
    for _ in range(steps + 2):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    print(json.dumps(statistics.median(seconds[2:])))


def run(name: str, args: argparse.Namespace):
    """Measure a contender in a separate process: the median seconds of a step, or the reason why it is skipped."""
    huge_pages = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    environment = {**os.environ, **huge_pages, "OMP_NUM_THREADS": str(args.threads)}
    python = args.torch_python if name.startswith("torch") else sys.executable
    own = ["--torch-python", "-", "--batch-size", str(args.batch_size), "--steps", str(args.steps)]
    command = [python, os.path.abspath(__file__), *own, "--measure", name]
    try:
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, timeout=args.timeout)
    except subprocess.TimeoutExpired:
        return f"no result within {args.timeout:g} s"
    return json.loads(done.stdout.splitlines()[-1])


def report(seconds: dict, left_out: dict, batch_size: int) -> None:
    """Print the medians, the ratios, and the skipped contenders."""
    median = {name: statistics.median(times) for name, times in seconds.items() if name not in left_out}
    for name in median:
        runs = ", ".join(f"{t:.3f}" for t in seconds[name])
        print(f"{name:23} median {median[name]:.3f} s ({runs}); {batch_size / median[name]:.1f} images/s")
    for ours in (name for name in median if name.startswith("insight")):
        for theirs in (name for name in median if name.startswith("torch")):
            print(f"{theirs} / {ours}: {median[theirs] / median[ours]:.2f}")
    for name, reason in left_out.items():
        print(f"{name}: skipped: {reason}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-python", required=True, help="the Python that has PyTorch")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=6, help="timed steps per process")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--timeout", type=float, default=600.0, help="time limit of a process in seconds")
    parser.add_argument("--measure", choices=sorted(CONTENDERS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        return measure(args.measure, args.batch_size, args.steps)
    seconds: dict = {name: [] for name in CONTENDERS}
    left_out: dict = {}
    for _ in range(args.rounds):
        for name in CONTENDERS:
            if name not in left_out:
                result = run(name, args)
                if isinstance(result, str):
                    left_out[name] = result
                else:
                    seconds[name].append(result)
    report(seconds, left_out, args.batch_size)


if __name__ == "__main__":
    main()
