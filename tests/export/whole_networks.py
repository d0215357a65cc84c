"""Checkpoints of whole networks, all their exported files, and plain MXNet's embeddings of the same faces."""

import dataclasses
import json
from typing import Callable, NamedTuple

import numpy as np
from small_networks import evaluate, filled, images

from insight import checkpoint, engines, nets
from insight._mxnet import mx
from insight.checkpoint import Checkpoint
from insight.export.onnx import export_onnx
from insight.export.slim import slim
from insight.train.train_options import TrainOptions

BATCHES = {"r50": (1, 3)}  # of others 1, 3 and 64


class Shipped(NamedTuple):
    """A network's files in ``folder`` (slim and folded checkpoints, plain.onnx, fast.onnx) and its embeddings."""

    spec: str
    folder: object
    batches: tuple
    faces: np.ndarray  # (N, 3, 112, 112) uint8, RGB
    embeddings: np.ndarray  # (N, E), of the checkpoint's own symbol


def in_plain_mxnet(prefix, epoch) -> Callable:
    """Faces to embeddings by MXNet's own loader and executor, without anything of ours."""
    symbol, arg_params, aux_params = mx.model.load_checkpoint(prefix, epoch)
    symbol = symbol.get_internals()["fc1_output"]
    used = set(symbol.list_inputs())
    arg_params = {name: array for name, array in arg_params.items() if name in used}
    return lambda faces: evaluate(symbol, arg_params, aux_params, faces)


def far_from_defaults(symbol) -> Checkpoint:
    """Random arrays: slopes -0.6 to 2.4, batch norms far from 0 and 1, and gammas of 2 to 3 where fix_gamma is set."""
    symbol, arg_params, aux_params = filled(symbol)
    norms = [node for node in json.loads(symbol.tojson())["nodes"] if node["op"] == "BatchNorm"]
    fixed = {f"{n['name']}_gamma" for n in norms if n.get("attrs", {}).get("fix_gamma", "True") in ("True", "1")}
    draw = np.random.default_rng(1)
    for name, array in sorted(arg_params.items()):
        if "relu" in name:
            arg_params[name] = mx.nd.array(draw.uniform(-0.6, 2.4, array.shape))
        elif name in fixed:
            arg_params[name] = mx.nd.array(draw.uniform(2, 3, array.shape))
        elif name.endswith("gamma"):
            value = draw.uniform(0.4, 1.6, array.shape) * draw.choice([-1, 1], array.shape)
            arg_params[name] = mx.nd.array(value)
    return Checkpoint(symbol, arg_params, aux_params)


def ship(spec, folder, faces, batches) -> Shipped:
    """Write all files of a checkpoint."""
    slim(spec, f"{folder}/slim", count=1)
    slim(spec, f"{folder}/folded", fold_bn=True, count=1)
    for graph in engines.GRAPHS:
        export_onnx(spec, f"{folder}/{graph}.onnx", graph, count=1)
    return Shipped(spec, folder, batches, faces, in_plain_mxnet(*checkpoint.parse_spec(spec))(faces))


def write_random(name, folder) -> str:
    """A checkpoint of a registered network with 128 values; its specification.

    The name may be followed by options, ``y1 version_se=1``.
    """
    name, *options = name.split()
    values = {option: int(value) for option, value in (text.split("=") for text in options)}
    stored = far_from_defaults(nets.symbol(nets.create(name, 128, **values)))
    if values:
        stored.aux_params.update(statistics_of_noise(nets.create(name, 128, batchnorm_momentum=0, **values), stored))
    checkpoint.save(f"{folder}/net", 5, stored)
    return f"{folder}/net,5"


def statistics_of_noise(network, stored: Checkpoint) -> dict:
    """Name to running statistics of a network, whose momentum is 0. Without, its sigmoids would all be 0 or 1."""
    network.initialize()
    checkpoint.assign(network.kept(), {**stored.arg_params, **stored.aux_params})
    with mx.autograd.record():
        network(mx.nd.array(images(8))).backward()
    mx.nd.waitall()
    return {name: network.kept()[name].data() for name in stored.aux_params}


def write_log(prefix, number, **options) -> None:
    """The log of a run that saved a checkpoint, as train-softmax writes it."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    options = {"data_dir": "/home/me/faces", "prefix": str(prefix), "pretrained": "", "network": "y1", **options}
    options = {**dataclasses.asdict(TrainOptions(data_dir="x")), **options}
    rows = [
        {"kind": "start", "time": 1700000000.0, "options": options, "set": "4a66f49f", "steps": 90, "versions": {}},
        {"kind": "saved", "time": 1700000060.0, "step": 70, "number": number, "path": "somewhere"},
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    prefix.with_name(f"{prefix.name}-log.jsonl").write_text(text)
