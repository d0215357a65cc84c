"""Prediction of a run's memory, before anything large is allocated, and refusal of runs that cannot fit.

Parameters, gradients, momentum, the objective's arrays and the loader's ring are counted exactly. The network's
activations in training and verification are planned as MXNet plans them (:mod:`insight.train.planned`). Two parts are
fitted: the operators' scratch memory, as one array of the size of the graph's largest, and ``RUNTIME``.

``benchmarks/memory.py`` compares the prediction with the peak of whole runs. On the CPU it is 0.95 to 1.15 times the
peak, saves and verification included. It has not been checked on GPUs.
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
LEARNING = 3  # arrays per parameter: itself, its gradient, its momentum
RUNTIME = 40_000_000  # bytes per device: threads, and kernels that are compiled at their first use
LEAST = 0.8  # share of the estimated parts that is certainly needed
PARTS = ("network", "objective", "step", "activations", "exchange", "images", "averages", "verification", "process")


@dataclass(frozen=True)
class Prediction:
    """Predicted memory in bytes. ``network`` to ``exchange`` are needed on each device.

    Attributes
    ----------
    network : int
        The network's parameters with gradients and momentum, and its running statistics.
    objective : int
        The objective's parameters, such as fc7's weights, with gradients and momentum.
    step : int
        Other arrays of a step of the objective, such as the (B, C) logits.
    activations : int
        Activations of the network and their gradients, an estimate.
    exchange : int
        Buffers for summing the gradients of several devices.
    images : int
        The loader's ring, in host memory.
    verification : int
        The network for inference and the embeddings of a verification set, an estimate, in host memory.
    process : int
        Memory of the process before any of this, and of MXNet at run time, in host memory.
    pretrained : int
        The checkpoint that the run starts from. It is read as a whole, before momentum is allocated.
    devices : int
        Number of devices.
    batch : int
        Images on each device.
    names : (str, str) or ()
        Names of ``objective`` and ``step`` in messages; empty: they are not listed.
    momentum : int
        The part of ``network`` and ``objective`` that the first step allocates.
    averages : int
        Averages of the network's parameters and running statistics, on the first device.
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
        """Peak of the process in bytes, if the devices share the host memory."""
        return round(self.needed(self.batch))

    def needed(self, batch: int, estimates: float = 1.0) -> float:
        """Peak in bytes with ``batch`` images on each device, with the estimated parts scaled by ``estimates``."""
        share = batch / self.batch
        each = self.network + self.objective + self.exchange + share * (self.step + estimates * self.activations)
        training = self.devices * each + share * self.images + estimates * self.verification
        training += self.averages + self.process
        return max(training, self._reading())

    def _reading(self) -> float:
        """Peak in bytes while ``--pretrained`` is read: checkpoint, parameters and gradients."""
        started = self.devices * (self.network + self.objective - self.momentum)
        return self.pretrained + started + self.process if self.pretrained else 0

    def counted(self, batch: int) -> float:
        """Bytes that a device needs at least: the exactly counted parts."""
        return self.network + self.objective + self.exchange + self.averages + batch / self.batch * self.step

    def shares(self, digits: int = 2) -> str:
        """List the parts in GB (10^9 bytes), without those that this run does not have."""
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
    """Predict the memory of a training run from the shapes of its arrays.

    Parameters
    ----------
    symbol : mxnet.sym.Symbol
        The network in its training form, from ``data`` to embeddings: ``network(mx.sym.Variable("data"))``.
    image_size : (int, int)
        (height, width) in pixels.
    batch_per_device : int
        Batch size B on each device.
    embedding_size : int
        Embedding length E.
    need : Need
        Memory of the objective with this batch size.
    slots : int
        Batches that the loader's ring holds.
    devices : int
        Number of devices; each holds a copy of all parameters.
    verified : sequence of (int, int)
        Distinct images and pairs of each verification set.
    lowered : mxnet.sym.Symbol, optional
        The network with the casts of half precision.
    pretrained : int
        Bytes of the checkpoint that the run starts from.
    averaged : bool
        Whether averages of the network's arrays are kept (``--ema``).

    Raises
    ------
    InsightError
        The network does not take images of this size, or one of its arrays is larger than MXNet can index.
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
    """Number of elements of the learned arrays and of the running statistics."""
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
    """Bytes of the inference network, of the copy that it is made from, and of the embeddings of the largest set."""
    if not sets:
        return 0
    most = BATCH["cpu"]  # batch size; the rest of a set is split into powers of two, each with its own buffers
    powers = [1 << i for i in range(most.bit_length() - 1) if any(images >> i & 1 for images, _ in sets)]
    buffers = sum(planned.inference(symbol, (batch, 3, *image_size)) for batch in (most, *powers))
    embeddings = 3 * max(images + pairs for images, pairs in sets) * embedding_size * 2 * FLOAT  # float64
    return 2 * FLOAT * parameters + buffers + embeddings


def refuse_unaffordable(
    prediction: Prediction, devices: list, batch_option: str = "--per-batch-size", remedy: str = "", ranks: int = 1
) -> str:
    """Refuse a run that does not fit into the devices' memory.

    Parameters
    ----------
    prediction : Prediction
    devices : list of mxnet.Context
        Devices on the CPU share the memory that is available to the process. For GPUs, the smallest free memory is
        compared with only the exactly counted parts of the prediction.
    batch_option : str
        Option that sets the batch size, for messages.
    remedy : str
        How the set could have fewer classes, for messages.
    ranks : int
        Ranks on this machine, which share its memory.

    Returns
    -------
    str
        A note if it is uncertain whether the run fits: the whole prediction does not, but it does with the estimated
        parts scaled by ``LEAST``. Empty if the run fits.

    Raises
    ------
    InsightError
        The run does not fit; the message names the memory needed, the memory available, and a batch size that fits.
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
    many = 1 << 20  # for large batches the need is linear in the batch size
    slope = (needed(2 * many) - needed(many)) / many
    return f"{batch_option} {int(many - (needed(many) - free) / slope)} would fit"
