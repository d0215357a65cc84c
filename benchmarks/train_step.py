"""One training step of a network with ArcFace: ours against MXNet's stock operators, alternating, in one process.

    python benchmarks/train_step.py [--network y1] [--batch-size 64] [--classes 10000] [--rounds 5]
    python benchmarks/train_step.py --network r50 --batch-size 16
    python benchmarks/train_step.py --forms     # ours, comparing all exact forms of PReLU
    python benchmarks/train_step.py --teacher   # ours, beside a teacher from a file, the teacher alone, and AdaDistill
    python benchmarks/train_step.py --levers    # ours, with and without --clip-norm, --ema, --interclass-filter
    python benchmarks/train_step.py --attention # ours, with and without --version-se and --version-eca

The stock step is what a Gluon user would write: ``nn.PReLU(in_channels=C)``, cosine logits, a one-hot (B, C) margin for
ArcFace, and ``SoftmaxCrossEntropyLoss``. Both have the same shapes, batch norm, optimizer, threads and engine settings.
Rounds run A B A B; the result is the ratio of the medians, because absolute times drift on a shared machine.

``--forms`` checks that the form that the trainer uses, ``fastest_prelu`` of the family, is the fastest on this
processor. DNNL_MAX_CPU_ISA=AVX2 in the environment limits MXNet to the kernels of an older processor.

``--teacher`` includes reading the rows of each batch, at random places of a file that is in memory.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from insight import nets
from insight._mxnet import keep_freed_memory, mx
from insight.errors import InsightError
from insight.faces.embed import Embedded, save
from insight.feed.loader import Batch
from insight.machine.cores import cpu_threads
from insight.margins import margins
from insight.nets.lresnet import PLAIN_CHANNELS, UNITS
from insight.objectives.adadistill import AdaDistill
from insight.objectives.classification import Classification
from insight.objectives.distilled import WEIGHT, Distilled
from insight.objectives.none import NoLoss
from insight.ranks.single import ALONE
from insight.teach.teacher_rows import TeacherRows
from insight.train.ema import Averages
from insight.train.optimizer import make_trainer, update
from insight.train.statistics import Statistics

nd, nn = mx.nd, mx.gluon.nn
S, M = 64.0, 0.5
TAUGHT = 20_000  # images of the teacher's file
LEVERS = {"clip-norm": {"clip_norm": 1e-3}, "ema": {"ema": 0.9995}, "interclass-filter": {"interclass_filter": 0.2}}
ATTENTION = {"version-se": {"version_se": 1}, "version-eca": {"version_eca": 1}}


class Residual(mx.gluon.HybridBlock):
    """body(x) + shortcut(x); without a shortcut, body(x) + x."""

    def __init__(self, body, shortcut=None):
        super().__init__()
        self.body = body
        self.shortcut = shortcut

    def hybrid_forward(self, F, x):
        return self.body(x) + (self.shortcut(x) if self.shortcut else x)


def sequential(*layers):
    """A sequence of layers."""
    net = nn.HybridSequential()
    net.add(*layers)
    return net


def stock_mobilefacenet(family) -> list:
    """MobileFaceNet's layers up to the FC, with the widths of ours."""

    def unit(in_channels, channels, kernel=1, stride=1, pad=0, groups=1, act=True):
        layers = [nn.Conv2D(channels, kernel, stride, pad, groups=groups, use_bias=False, in_channels=in_channels)]
        layers.append(nn.BatchNorm(epsilon=1e-3, in_channels=channels))
        return sequential(*layers, nn.PReLU(in_channels=channels)) if act else sequential(*layers)

    def bottleneck(channels, width, out, stride):
        return sequential(unit(channels, width), unit(width, width, 3, stride, 1, width), unit(width, out, act=False))

    layers = [unit(3, 64, 3, 2, 1)]
    if family.BLOCKS[0] == 1:
        layers.append(unit(64, 64, 3, 1, 1, 64))
    else:
        layers += [Residual(bottleneck(64, 64, 64, 1)) for _ in range(family.BLOCKS[0])]
    channels = 64
    for (_, _, down_width, out, width), count in zip(family.WIDTHS, family.BLOCKS[1:]):
        layers.append(bottleneck(channels, down_width, out, 2))
        layers += [Residual(bottleneck(out, width, out, 1)) for _ in range(count)]
        channels = out
    return [*layers, unit(channels, 512), unit(512, 512, 7, groups=512, act=False), nn.Flatten()]


def stock_lresnet(depth: int) -> list:
    """LResNet-IR's layers up to the FC."""

    def norm(channels):
        return nn.BatchNorm(epsilon=2e-5, in_channels=channels)

    def conv(in_channels, channels, kernel, stride=1):
        return nn.Conv2D(channels, kernel, stride, kernel // 2, use_bias=False, in_channels=in_channels)

    layers = [conv(3, 64, 3), norm(64), nn.PReLU(in_channels=64)]
    before = 64
    for count, channels in zip(UNITS[depth], PLAIN_CHANNELS):
        for number in range(count):
            stride = 1 if number else 2
            first = (norm(before), conv(before, channels, 3), norm(channels), nn.PReLU(in_channels=channels))
            body = sequential(*first, conv(channels, channels, 3, stride), norm(channels))
            shortcut = None if number else sequential(conv(before, channels, 1, stride), norm(channels))
            layers.append(Residual(body, shortcut))
            before = channels
    return [*layers, norm(before), nn.Dropout(0.4), nn.Flatten()]


def stock_network(name: str, embedding_size: int):
    """A network of stock Gluon layers."""
    family = nets.family(name)
    if hasattr(family, "BLOCKS"):
        layers, units = stock_mobilefacenet(family), 512
    elif getattr(family, "depth", None) and not family.OPTIONS["bottleneck"][0]:
        layers, units = stock_lresnet(family.depth), PLAIN_CHANNELS[-1] * 7 * 7
    else:
        raise InsightError(f"--network {name}: want y1, y2 or an LResNet without bottlenecks")
    net = sequential(nn.HybridLambda(lambda F, x: (x - 127.5) * 0.0078125), *layers)
    net.add(nn.Dense(embedding_size, in_units=units))
    net.add(nn.BatchNorm(epsilon=2e-5, scale=False, in_channels=embedding_size))
    return net


class StockArcFace(mx.gluon.HybridBlock):
    """ArcFace with a one-hot margin over the (B, C) logits, as InsightFace's symbol has it."""

    def __init__(self, classes: int, embedding_size: int):
        super().__init__()
        self.classes = classes
        self.weight = self.params.get("weight", shape=(classes, embedding_size))

    def hybrid_forward(self, F, x, label, weight):
        x = F.L2Normalization(x) * S
        fc7 = F.FullyConnected(x, F.L2Normalization(weight), no_bias=True, num_hidden=self.classes)
        zy = F.pick(fc7, label, axis=1)
        cos = zy / S
        sin = F.sqrt(F.maximum(1.0 - cos * cos, 1e-6))
        new = F.where(cos > -math.cos(M), (cos * math.cos(M) - sin * math.sin(M)) * S, zy - S * M * math.sin(M))
        one_hot = F.one_hot(label, depth=self.classes)
        return fc7 + F.broadcast_mul(one_hot, F.expand_dims(new - zy, 1))


def stock_step(name: str, batch: int, classes: int, embedding_size: int):
    """A function that runs one stock step and waits for it."""
    network, head = stock_network(name, embedding_size), StockArcFace(classes, embedding_size)
    loss_function = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    for block in (network, head):
        block.initialize(mx.init.Xavier())
        block.hybridize(static_alloc=True, static_shape=True)
    params = {**dict(network.collect_params().items()), **dict(head.collect_params().items())}
    trainer = mx.gluon.Trainer(params, "sgd", {"learning_rate": 0.01, "momentum": 0.9, "wd": 5e-4}, kvstore=None)

    def step(data, label):
        with mx.autograd.record():
            loss = loss_function(head(network(data), label), label)
        loss.backward()
        trainer.step(batch)
        mx.nd.waitall()

    return step


def arcface(classes: int, embedding_size: int, kind=Classification, **more) -> Classification:
    """ArcFace, or with another kind of classification."""
    return kind(margins.get("arcface")(margin_s=S, margin_m=M), classes, embedding_size, **more)


def our_step(
    name: str,
    batch: int,
    classes: int,
    embedding_size: int,
    form: str = "",
    interclass_filter: float = 1.0,
    **more,
):
    """A function that runs one step of this project's trainer with ArcFace and waits for it; ``form`` is of PReLU, by
    default the fastest, and ``more`` goes to :func:`step_with`.
    """
    objective = arcface(classes, embedding_size, interclass_filter=interclass_filter)
    return step_with(objective, name, embedding_size, form, **more)


def step_with(
    objective, name: str, embedding_size: int, form: str = "", clip_norm: float = 0.0, ema: float = 0.0, **options
):
    """The same with an objective, not yet initialised; ``options`` are the network's."""
    network = nets.create(name, embedding_size, prelu=form or nets.family(name).fastest_prelu, **options)
    network.initialize(mx.init.Xavier())
    objective.initialize(mx.init.Xavier(), [mx.cpu()])
    network.hybridize(static_alloc=True, static_shape=True)
    trainer = make_trainer({**network.kept(), **dict(objective.params.items())}, 0.9, 5e-4, 1.0)
    trainer.set_learning_rate(0.01)
    draw = np.random.default_rng(0)
    statistics = Statistics(network, [mx.cpu()], ALONE)
    averages = Averages(SimpleNamespace(network=network, statistics=statistics), ema) if ema else None

    def step(data, label):
        positions, mirrored = draw.integers(0, TAUGHT, len(label)), draw.random(len(label)) < 0.5
        with mx.autograd.record():
            embedding = network(data)
        batch = Batch(None, label, positions, None, mirrored)
        embedding.backward(objective.learn([embedding], batch, 0).gradients[0])
        update(trainer, len(label), clip_norm=clip_norm, network=network.kept())
        if averages:
            averages.update()
        mx.nd.waitall()

    return step


class Taught(SimpleNamespace):
    """The part of a set of images that a teacher's file is checked against."""

    def __len__(self) -> int:
        return TAUGHT


class FromFile:
    """A teacher whose embeddings are in a file."""

    def __init__(self, path: Path, dimension: int):
        plain, mirrored = np.random.default_rng(1).normal(size=(2, TAUGHT, dimension)).astype(np.float16)
        keys = np.arange(1, TAUGHT + 1)
        save(path, Embedded(plain, keys.astype(str), keys, {"set": ""}, mirrored))
        self._rows = TeacherRows(path, Taught(images=keys, rec_path=""), "")
        self.dimension = dimension

    def rows(self, batch) -> np.ndarray:
        return self._rows.rows(batch.indices, batch.mirrored)


def taught_steps(name: str, classes: int, embedding_size: int, folder: str) -> dict:
    """Name to step: ArcFace, the same beside a teacher, the teacher alone, AdaDistill."""
    teacher = FromFile(Path(folder) / "teacher.npz", embedding_size)
    adapted = arcface(classes, embedding_size, AdaDistill)
    adapted.teacher = teacher
    objectives = {
        "arcface": arcface(classes, embedding_size),
        "arcface, taught": Distilled(arcface(classes, embedding_size), teacher, WEIGHT, embedding_size),
        "teacher alone": Distilled(NoLoss(), teacher, WEIGHT, embedding_size),
        "adadistill": Distilled(adapted, teacher, 0.0, embedding_size),
    }
    return {case: step_with(objective, name, embedding_size) for case, objective in objectives.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="y1", help="y1, y2, or r18 to r160")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--classes", type=int, default=10000)
    parser.add_argument("--emb-size", type=int, default=0, help="0: the network's default")
    parser.add_argument("--rounds", type=int, default=5)
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--forms", action="store_true", help="compare the forms of PReLU instead")
    instead.add_argument("--teacher", action="store_true", help="compare steps with a teacher instead")
    instead.add_argument("--levers", action="store_true", help="compare the trainer's options instead")
    instead.add_argument("--attention", action="store_true", help="compare MobileFaceNet's channel attentions instead")
    args = parser.parse_args()
    keep_freed_memory()
    data = mx.nd.random.uniform(0, 255, (args.batch_size, 3, 112, 112))
    label = mx.nd.floor(mx.nd.random.uniform(0, args.classes, (args.batch_size,)))
    embedding_size = args.emb_size or nets.family(args.network).default_embedding_size
    shape = (args.network, args.batch_size, args.classes, embedding_size)
    family = nets.family(args.network)
    variants = LEVERS if args.levers else ATTENTION if args.attention else {}
    if variants:
        steps = {"ours": our_step(*shape), **{name: our_step(*shape, **more) for name, more in variants.items()}}
    elif args.forms:
        steps = {form: our_step(*shape, form) for form in family.PRELU_FORMS if form != "plain"}
    elif args.teacher:
        with tempfile.TemporaryDirectory() as folder:  # the file stays open
            steps = taught_steps(args.network, args.classes, embedding_size, folder)
    else:
        steps = {"ours": our_step(*shape), "stock": stock_step(*shape)}
    seconds: dict = {name: [] for name in steps}
    for round_number in range(args.rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step(data, label)
            if round_number:  # the first compiles
                seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    for name, times in seconds.items():
        rate = args.batch_size / median[name]
        print(f"{name:16} median {median[name]:.3f} s, min {min(times):.3f}, max {max(times):.3f}; {rate:.1f} images/s")
    case = f"{args.network}, threads {cpu_threads(None)}, batch {args.batch_size}"
    if variants:
        ratios = ", ".join(f"{name} {median[name] / median['ours']:.3f}" for name in variants)
        print(f"{case}, over the step without: {ratios}")
    elif args.forms:
        print(f"{case}, fastest {min(median, key=median.get)}; the trainer uses {family.fastest_prelu}")
    elif args.teacher:
        ratios = [f"{name} {time / median['arcface']:.3f}" for name, time in median.items()]
        print(f"{case}, {args.classes} classes, a step over that of ArcFace: {', '.join(ratios[1:])}")
    else:
        print(f"{case}, ratio stock/ours {median['stock'] / median['ours']:.2f}")


if __name__ == "__main__":
    main()
