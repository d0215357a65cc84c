"""Two contenders of learning.py on MXNet: InsightFace's formulation on stock operators, and this project's trainer.

python learning_mxnet.py FOLDER MINUTES SEED stock|insight
"""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path
from typing import Callable, Tuple

import numpy as np
from learning_clock import BATCH, DECAY, EMBEDDING, MOMENTUM, M, S, batches, learn

from insight import nets
from insight._mxnet import keep_freed_memory, mx
from insight.checkpoint import Checkpoint
from insight.engines.mxnet import MXNetEngine
from insight.objectives import create
from insight.train.model import Model, build_network
from insight.train.optimizer import make_trainer
from insight.train.train_options import TrainOptions

Contender = Tuple[Callable[[float], None], Callable[[], np.ndarray]]  # step, embed


def embeddings(network: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
    """(N, E) of all images, a batch at a time."""
    return np.concatenate([network(part) for part in np.array_split(images, -(-len(images) // BATCH))])


def arcface_symbol(embedding, classes: int):
    """InsightFace's graph of training: fc7 on unit embeddings and weights, and a one-hot array for the margin.

    Source: get_symbol of train_softmax.py, deepinsight/insightface@4bc81321, loss type 4.
    """
    sym = mx.sym
    label = sym.Variable("softmax_label")
    weight = sym.L2Normalization(sym.Variable("fc7_weight", shape=(classes, EMBEDDING)), mode="instance")
    unit = sym.L2Normalization(embedding, mode="instance") * S
    fc7 = sym.FullyConnected(unit, weight, no_bias=True, num_hidden=classes)
    target = sym.pick(fc7, label, axis=1)
    cos = target / S
    sine = sym.sqrt(1.0 - cos * cos)
    moved = S * (cos * math.cos(M) - sine * math.sin(M))
    moved = sym.where(sym.Activation(cos - math.cos(math.pi - M), "relu"), moved, target - S * M * math.sin(M))
    one_hot = sym.one_hot(label, depth=classes, on_value=1.0, off_value=0.0)
    fc7 = fc7 + sym.broadcast_mul(one_hot, sym.expand_dims(moved - target, 1))
    return sym.Group([sym.BlockGrad(embedding), sym.SoftmaxOutput(fc7, label, normalization="valid")])


def stock(images: np.ndarray, labels: np.ndarray, held_out: np.ndarray, seed: int) -> Contender:
    """Module over InsightFace's graph of MobileFaceNet, with MXNet's own operators."""
    order, shape = batches(len(images), seed), (BATCH, *images.shape[1:])
    network = nets.create("y1", EMBEDDING, prelu="plain")(mx.sym.Variable("data"))
    module = mx.mod.Module(arcface_symbol(network, int(labels.max()) + 1), label_names=["softmax_label"])
    module.bind([("data", shape)], [("softmax_label", (BATCH,))])
    mx.random.seed(seed)
    module.init_params(mx.init.Xavier(rnd_type="uniform", factor_type="in", magnitude=2))
    optimizer = mx.optimizer.SGD(momentum=MOMENTUM, wd=DECAY)  # the loss is a mean: normalization="valid"
    module.init_optimizer(optimizer=optimizer)

    def step(rate: float) -> None:
        positions, mirrored = next(order)
        data = images[positions]
        data[mirrored] = data[mirrored, :, :, ::-1]
        optimizer.lr = rate
        module.forward_backward(mx.io.DataBatch([mx.nd.array(data)], [mx.nd.array(labels[positions])]))
        module.update()
        mx.nd.waitall()

    def embed() -> np.ndarray:
        args, aux = module.get_params()
        own = {name: args[name] for name in network.list_arguments() if name in args}
        return embeddings(MXNetEngine(Checkpoint(network, own, aux), "stock"), held_out)

    return step, embed


def ours(images: np.ndarray, labels: np.ndarray, held_out: np.ndarray, seed: int) -> Contender:
    """What `train-softmax` runs in each step."""
    from insight.feed.loader import Batch

    keep_freed_memory()
    order, devices, steps = batches(len(images), seed), [mx.cpu(0)], itertools.count()
    options = TrainOptions(
        data_dir="-", network="y1", emb_size=EMBEDDING, loss_type="arcface", margin_s=S, margin_m=M, seed=seed
    )
    objective = create(options, int(labels.max()) + 1)
    model = Model(options, build_network(options, devices), objective, devices)
    trainer = make_trainer(model.params, MOMENTUM, DECAY, 1.0, objective.multipliers())

    def step(rate: float) -> None:
        positions, mirrored = next(order)
        data = images[positions].astype(np.float32)
        data[mirrored] = data[mirrored, :, :, ::-1]
        trainer.set_learning_rate(rate)
        model.backward(Batch(mx.nd.array(data), mx.nd.array(labels[positions]), positions, positions), next(steps))
        if model.usable():
            trainer.step(BATCH)

    def embed() -> np.ndarray:
        return embeddings(model.embedder("ours"), held_out)

    return step, embed


def main() -> None:
    folder, minutes, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    arrays = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("images", "labels", "held_out"))
    contender = {"stock": stock, "insight": ours}[sys.argv[4]]
    learn(folder, minutes, *contender(*arrays, seed))


if __name__ == "__main__":
    main()
