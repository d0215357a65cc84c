"""Embedding faces: MXNet executing a checkpoint's symbol as it is, against each of our engines.

    python benchmarks/inference.py --model models/y1,1 [--input lfw.bin] [--batch-size 8] [--rounds 3]

``plain`` binds the symbol and runs it, as InsightFace's scripts do. ``mxnet`` is our engine on MXNet alone (batch norm
folded, PReLU as two convolutions), ``onnxruntime`` the same graph there, ``openvino`` the graph as it is. Each round
runs every one once, in a process of its own, so that no runtime's idle threads spin while another works; a process
gives the median of its passes over the images, and the ratios are of the medians over the rounds. Cosines are to
``plain``'s embeddings of the same images.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
from insight._mxnet import physical_cores  # noqa: E402

PLAIN = "plain"
ENGINES = {  # name: (engine, dtype)
    "mxnet": ("mxnet", "float32"),
    "onnxruntime": ("onnxruntime", "float32"),
    "openvino": ("openvino", "float32"),
    "openvino bfloat16": ("openvino", "bfloat16"),
}


def plain_network(spec: str, batch_size: int):
    """Images (N, 3, H, W) to embeddings with nothing but MXNet; a short last batch is filled up."""
    from insight import checkpoint
    from insight._mxnet import mx

    held = checkpoint.load(*checkpoint.parse_spec(spec))
    symbol = held.symbol.get_internals()["fc1_output"]
    executor = None

    def run(images: np.ndarray) -> np.ndarray:
        nonlocal executor
        if executor is None:
            executor = symbol.simple_bind(mx.cpu(), data=(batch_size, *images.shape[1:]), grad_req="null")
            executor.copy_params_from(held.arg_params, held.aux_params, allow_extra_params=True)
        rows = []
        for start in range(0, len(images), batch_size):
            batch = np.resize(images[start : start + batch_size], (batch_size, *images.shape[1:]))
            data = mx.nd.array(batch, dtype=np.float32)
            rows.append(executor.forward(is_train=False, data=data)[0].asnumpy())
        return np.concatenate(rows)[: len(images)]

    return run


def measure(args) -> None:
    """Time one contender; prints the median seconds of a pass as JSON, and leaves the embeddings in a file."""
    if args.measure == PLAIN:
        network = plain_network(args.model, args.batch_size)
    else:
        from insight import engines

        engine, dtype = ENGINES[args.measure]
        options = {"engine": engine, "dtype": dtype, "batch_size": args.batch_size, "threads": args.threads}
        network = engines.load(args.model, **options)
    images = np.load(args.images)
    np.save(f"{args.images}.{args.measure}.npy", network(images))  # the first pass plans
    seconds = []
    for _ in range(args.passes):
        start = time.perf_counter()
        network(images)
        seconds.append(time.perf_counter() - start)
    print(json.dumps(statistics.median(seconds)))


def faces(args) -> np.ndarray:
    """(N, 3, 112, 112) uint8."""
    from insight.export.parity import random_faces
    from insight.verify.sources import image_source

    return (image_source(args.input).spread if args.input else random_faces)(args.count, (112, 112))


def lowest_cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (a.astype(np.float64), b))
    return float((a * b).sum(axis=1).min())


def run_child(args, name: str, path: str) -> float:
    own = [f"--{key}={getattr(args, key.replace('-', '_'))}" for key in ("model", "batch-size", "passes", "threads")]
    command = [sys.executable, os.path.abspath(__file__), *own, "--images", path, "--measure", name]
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="prefix,epoch")
    parser.add_argument("--input", help="faces: identity folders, a .rec or a .bin; else made-up ones")
    parser.add_argument("--count", type=int, default=64, help="faces")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--passes", type=int, default=5, help="timed passes over the faces in a process")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--engines", default=",".join(ENGINES), help="which of these")
    parser.add_argument("--images", help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=[PLAIN, *ENGINES], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        return measure(args)
    names = [PLAIN, *(name for name in ENGINES if name in args.engines.split(","))]
    seconds: dict = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "images.npy")
        images = faces(args)
        np.save(path, images)
        for _ in range(args.rounds):
            for name in names:
                seconds[name].append(run_child(args, name, path))
        rows = {name: np.load(f"{path}.{name}.npy") for name in names}
    median = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"{len(images)} faces, batch {args.batch_size}, {args.threads} threads, medians of {args.rounds} rounds")
    print(f"{'':18} {'images/s':>9} {'ratio':>6}  lowest cosine")
    for name in names:
        rate, ratio = len(images) / median[name], median[PLAIN] / median[name]
        print(f"{name:18} {rate:9.1f} {ratio:6.2f}  {lowest_cosine(rows[PLAIN], rows[name]):.7f}")


if __name__ == "__main__":
    main()
