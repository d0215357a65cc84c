"""How much memory a run will take, predicted before anything large is allocated; refusals of what cannot fit.

Counted exactly: parameters, gradients, momentum, the objective's arrays, the loader's ring. Planned as MXNet plans it:
the network's inner arrays, in training (:mod:`insight.train.planned`) and in verification. Fitted: operators' scratch
memory, as one array as large as the graph's largest, and ``RUNTIME``.

``benchmarks/memory.py`` compares the prediction with the peak of whole runs. On the CPU it lies within 0.95 and 1.15 of
it, saves and verification included. It has not been checked on GPUs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Callable, Sequence, Tuple

from .._mxnet import MAX_ELEMENTS, mx, release_freed_memory
from ..engines import BATCH
from ..errors import InsightError
from ..feed.ring import SLOTS
from ..machine.available import available, resident
from ..objectives.objective import Need
from . import planned

FLOAT = 4  # bytes
LEARNING = 3  # arrays per learned one: itself, its gradient, its momentum
RUNTIME = 40_000_000  # bytes a device: threads, and kernels that are compiled when they are first used
LEAST = 0.8  # of the estimated parts is sure to be needed
PARTS = ("network", "objective", "step", "activations", "exchange", "images", "averages", "verification", "process")


@dataclass(frozen=True)
class Prediction:
    """Bytes; the first five are of each device.

    Attributes
    ----------
    network : int
        Parameters with their gradients and momentum, and running statistics.
    objective : int
        The objective's parameters, such as fc7's weights, with their gradient and momentum.
    step : int
        What a step of the objective takes beside them, such as the (B, C) logits.
    activations : int
        The network's inner arrays and their gradients, an estimate.
    exchange : int
        Where the gradients of several devices are summed.
    images : int
        The loader's ring, in the machine's memory.
    verification : int
        The network for inference and the embeddings of a verification set, an estimate, in the machine's memory.
    process : int
        What it has now, before any of this, and what MXNet takes at run time, in the machine's memory.
    pretrained : int
        The checkpoint that the run starts from, which is read whole before gradients have their momentum.
    devices : int
    batch : int
        Images on each.
    names : (str, str) or ()
        What ``objective`` and ``step`` are called in messages; empty: they are not listed.
    momentum : int
        The part of ``network`` and ``objective`` that the first step allocates.
    averages : int
        Of the network's parameters and running statistics, on the first device.
    """

    network: int
    objective: int
    step: int
    activations: int
    exchange: int
    images: int
    verification: int
    process: int
    pretrained: int
    devices: int
    batch: int
    names: Tuple[str, ...] = ()
    momentum: int = 0
    averages: int = 0

    @property
    def total(self) -> int:
        """The peak of the process, with devices that share the machine's memory."""
        return round(self.needed(self.batch))

    def needed(self, batch: int, estimates: float = 1.0) -> float:
        """The peak with so many images on each device, if the estimated parts are wrong by a factor."""
        share = batch / self.batch
        each = self.network + self.objective + self.exchange + share * (self.step + estimates * self.activations)
        training = self.devices * each + share * self.images + estimates * self.verification
        training += self.averages + self.process
        return max(training, self._reading())

    def _reading(self) -> float:
        """The peak of the start: the checkpoint, parameters and gradients."""
        started = self.devices * (self.network + self.objective - self.momentum)
        return self.pretrained + started + self.process if self.pretrained else 0

    def counted(self, batch: int) -> float:
        """What a device needs at the very least, by the counted parts alone."""
        return self.network + self.objective + self.exchange + self.averages + batch / self.batch * self.step

    def shares(self, digits: int = 2) -> str:
        """The parts in GB (10^9 bytes), without those that this run does not have."""
        left_out = (
            ("exchange", "averages", "verification")
            if self.names
            else ("exchange", "averages", "verification", "objective", "step")
        )
        parts = [part for part in PARTS if getattr(self, part) or part not in left_out]
        names = dict(zip(("objective", "step"), self.names))
        shown = ", ".join(f"{names.get(part, part)} {getattr(self, part) / 1e9:.{digits}f}" for part in parts)
        if round(self._reading()) == self.total:
            shown += f"; the peak is at the start, where {self.pretrained / 1e9:.{digits}f} of --pretrained are read"
        return shown + (f"; {self.devices} devices, each with the first {parts.index('images')}" * (self.devices > 1))

    def describe(self) -> str:
        """One line for the log, in GB (10^9 bytes)."""
        return f"predicted memory: {self.total / 1e9:.2f} GB: {self.shares()}"


def predict(
    symbol,
    image_size: Tuple[int, int],
    batch_per_device: int,
    embedding_size: int,
    need: Need,
    slots: int = SLOTS,
    devices: int = 1,
    verified: Sequence[Tuple[int, int]] = (),
    lowered=None,
    pretrained: int = 0,
    averaged: bool = False,
) -> Prediction:
    """Predict the memory of training from shapes.

    Parameters
    ----------
    symbol : mxnet.sym.Symbol
        The network in its training form, from ``data`` to embeddings: ``network(mx.sym.Variable("data"))``.
    image_size : (int, int)
        (height, width) in pixels.
    batch_per_device : int
        B.
    embedding_size : int
        E.
    need : Need
        Of the objective, with that batch.
    slots : int
        Batches that the loader's ring holds.
    devices : int
        Each with its copy of everything.
    verified : sequence of (int, int)
        Distinct images and pairs of each verification set.
    lowered : mxnet.sym.Symbol, optional
        The network as it trains in half precision.
    pretrained : int
        Bytes of the checkpoint that the run starts from.
    averaged : bool
        Averages of the network's arrays are kept.

    Raises
    ------
    InsightError
        The network does not take such images, or one of its arrays would be larger than MXNet can index.
    """
    shape = (batch_per_device, 3, *image_size)
    gradients = need.parameters if need.gradients is None else need.gradients
    arguments, auxiliary = _elements(symbol, shape)
    step = planned.plan(symbol if lowered is None else lowered, shape)
    release_freed_memory()
    return Prediction(
        network=FLOAT * (LEARNING * arguments + auxiliary),
        objective=FLOAT * (2 * need.parameters + gradients + need.kept),  # with the momentum
        step=need.step,
        activations=step.total + step.largest,
        exchange=0 if devices == 1 else FLOAT * (arguments + need.parameters),
        images=FLOAT * slots * devices * math.prod(shape),
        verification=_verification(symbol, image_size, arguments + auxiliary, embedding_size, verified),
        process=resident() + RUNTIME * devices,
        pretrained=pretrained,
        devices=devices,
        batch=batch_per_device,
        names=need.names,
        momentum=FLOAT * (arguments + need.parameters),
        averages=FLOAT * (arguments + auxiliary) if averaged else 0,
    )


def _elements(symbol, shape: Tuple[int, ...]) -> Tuple[int, int]:
    """How many numbers learned arrays hold, and running statistics."""
    internals = symbol.get_internals()
    try:
        arguments, outputs, auxiliary = internals.infer_shape(data=shape)
    except mx.MXNetError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InsightError(f"the network does not take {shape[2]}x{shape[3]} images: {reason}") from None
    sizes = {name: math.prod(output) for name, output in zip(internals.list_outputs(), outputs)}
    for name in symbol.list_inputs():
        del sizes[name]
    largest = max(sizes, key=sizes.__getitem__)
    if sizes[largest] > MAX_ELEMENTS:
        most = MAX_ELEMENTS // (sizes[largest] // shape[0])
        raise InsightError(
            f"--per-batch-size {shape[0]}: {largest} would have {sizes[largest]} elements, and MXNet 1.9.1 indexes "
            f"{MAX_ELEMENTS} of an array; use at most {most}"
        )
    learned = sum(math.prod(size) for name, size in zip(internals.list_arguments(), arguments) if name != "data")
    return learned, sum(map(math.prod, auxiliary))


def _verification(symbol, image_size: Tuple[int, int], parameters: int, embedding_size: int, sets: Sequence) -> int:
    """Bytes of the network for inference, beside a copy that it is made from, and of the largest set's embeddings."""
    if not sets:
        return 0
    most = BATCH["cpu"]  # images at once; the rest of a set in powers of two, each of which has its buffers
    powers = [1 << i for i in range(most.bit_length() - 1) if any(images >> i & 1 for images, _ in sets)]
    buffers = sum(planned.inference(symbol, (batch, 3, *image_size)) for batch in (most, *powers))
    embeddings = 3 * max(images + pairs for images, pairs in sets) * embedding_size * 2 * FLOAT  # float64
    return 2 * FLOAT * parameters + buffers + embeddings


def refuse_unaffordable(
    prediction: Prediction, devices: list, batch_option: str = "--per-batch-size", remedy: str = "", ranks: int = 1
) -> str:
    """Refuse a run that the devices' memory cannot hold.

    Parameters
    ----------
    prediction : Prediction
    devices : list of mxnet.Context
        Those on the CPU share what the process may have of the machine's memory. Of a GPU, what is free counts, and
        only the counted parts of the prediction.
    batch_option : str
        Where the batch comes from.
    remedy : str
        How the set could have fewer classes.
    ranks : int
        Of this machine, which share its memory.

    Returns
    -------
    str
        A note where the run may or may not fit: by the whole prediction it does not, with estimates at ``LEAST`` of
        it it does. Else empty.

    Raises
    ------
    InsightError
        Naming what is needed, what is there, and what would fit.
    """
    if devices[0].device_type == "cpu":
        (free, limit), needed = available(), prediction.needed
        free //= ranks
        shared = f" to each of {ranks} ranks" if ranks > 1 else ""
        there = f"{free / 1e9:.1f} GB are available{shared} ({limit})"
        surely = prediction.needed(prediction.batch, LEAST)
    else:
        by_device = {str(device): mx.context.gpu_memory_info(device.device_id)[0] for device in devices}
        where = min(by_device, key=by_device.__getitem__)
        free, needed = by_device[where], prediction.counted
        there = f"{where} has {free / 1e9:.1f} GB free"
        surely = needed(prediction.batch)
    if needed(prediction.batch) <= free:
        return ""
    message = (
        f"training needs {needed(prediction.batch) / 1e9:.1f} GB ({prediction.shares(1)}), and {there}; "
        f"{f'{remedy}; ' if remedy else ''}{_what_fits(needed, free, batch_option)}"
    )
    if surely <= free:
        return f"{message}; part of this is an estimate, so the run may still fit"
    raise InsightError(f"{batch_option} {prediction.batch}: {message}")


def _what_fits(needed: Callable[[int], float], free: int, batch_option: str) -> str:
    if needed(1) > free:
        return "no batch would fit: take a smaller --emb-size or fewer identities"
    many = 1 << 20  # from some batch on, what is needed is a straight line
    slope = (needed(2 * many) - needed(many)) / many
    return f"{batch_option} {int(many - (needed(many) - free) / slope)} would fit"
