"""How much memory a run will take, said before anything is allocated; and refusals of what cannot work.

Parameters, gradients, momentum, class weights and logits are counted exactly. What the backward pass keeps
of the network's inner arrays is an estimate: their sum times ``KEPT``, which was fitted to the peaks of
MobileFaceNet and LResNet-18 and -50 in the PReLU forms that train on the CPU, at batches of 8 to 64; there
the whole prediction lies within 0.85 and 1.2 of the peak. It is too high for 16-bit training and not
checked on a GPU, so only the counted part is ever refused.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Tuple

from .._mxnet import mx
from ..errors import InsightError
from ..feed.ring import SLOTS
from ..heads.classifier import MAX_ELEMENTS

FLOAT = 4  # bytes
LEARNING = 3  # arrays per learned one: itself, its gradient, its momentum
KEPT = 0.9  # bytes of activations held at the peak, per byte that the network's operators write
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Prediction:
    """Bytes; the first four are of each device.

    Attributes
    ----------
    network : int
        Parameters with their gradients and momentum, and running statistics.
    classes : int
        fc7's weights, their gradient and momentum.
    logits : int
        The (B, C) array.
    activations : int
        What is kept for the backward pass, an estimate.
    images : int
        The loader's ring, in the machine's memory.
    process : int
        What the process has now, before any of this: Python and libraries.
    devices : int
    batch : int
        Images on each.
    """

    network: int
    classes: int
    logits: int
    activations: int
    images: int
    process: int
    devices: int
    batch: int

    @property
    def certain(self) -> int:
        """What a device needs at the very least: all but the estimate."""
        return self.network + self.classes + self.logits

    @property
    def total(self) -> int:
        """Everything, on devices that share the machine's memory."""
        return self.devices * (self.certain + self.activations) + self.images + self.process

    def describe(self) -> str:
        """One line for the log, in GB (10^9 bytes)."""
        parts = ("network", "classes", "logits", "activations", "images", "process")
        shown = ", ".join(f"{part} {getattr(self, part) / 1e9:.2f}" for part in parts)
        each = f" ({self.devices} devices, the first four on each)" if self.devices > 1 else ""
        return f"predicted memory: {self.total / 1e9:.2f} GB: {shown}{each}"


def predict(
    symbol,
    image_size: Tuple[int, int],
    batch_per_device: int,
    num_classes: int,
    embedding_size: int,
    slots: int = SLOTS,
    devices: int = 1,
) -> Prediction:
    """Predict the memory of training from shapes alone.

    Parameters
    ----------
    symbol : mxnet.sym.Symbol
        The network as it trains, from ``data`` to embeddings: ``network(mx.sym.Variable("data"))``.
    image_size : (int, int)
        (height, width) in pixels.
    batch_per_device : int
        B.
    num_classes, embedding_size : int
        C, E.
    slots : int
        Batches that the loader's ring holds.
    devices : int
        Each with its copy of everything.

    Raises
    ------
    InsightError
        The network does not take such images, or one of its arrays would be larger than MXNet can index.
    """
    shape = (batch_per_device, 3, *image_size)
    arguments, auxiliary, written = _elements(symbol, shape)
    return Prediction(
        network=FLOAT * (LEARNING * arguments + auxiliary),
        classes=FLOAT * LEARNING * num_classes * embedding_size,
        logits=FLOAT * batch_per_device * num_classes,
        activations=int(KEPT * FLOAT * written),
        images=FLOAT * slots * devices * math.prod(shape),
        process=_resident(),
        devices=devices,
        batch=batch_per_device,
    )


def _elements(symbol, shape: Tuple[int, ...]) -> Tuple[int, int, int]:
    """How many numbers learned arrays hold, and running statistics, and how many the operators write."""
    internals = symbol.get_internals()
    try:
        arguments, outputs, auxiliary = internals.infer_shape(data=shape)
    except mx.MXNetError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InsightError(f"the network does not take {shape[2]}x{shape[3]} images: {reason}") from None
    names = internals.list_outputs()
    held = set(symbol.list_inputs())
    written = {name: math.prod(output) for name, output in zip(names, outputs) if name not in held}
    largest = max(written, key=written.__getitem__)
    if written[largest] > MAX_ELEMENTS:
        most = MAX_ELEMENTS // (written[largest] // shape[0])
        raise InsightError(
            f"--per-batch-size {shape[0]}: {largest} would have {written[largest]} elements, and MXNet 1.9.1 indexes "
            f"{MAX_ELEMENTS} of an array; use at most {most}"
        )
    learned = sum(math.prod(size) for name, size in zip(internals.list_arguments(), arguments) if name != "data")
    return learned, sum(map(math.prod, auxiliary)), sum(written.values())


def refuse_too_large(
    batch_per_device: int,
    num_classes: int,
    embedding_size: int,
    batch_option: str = "--per-batch-size",
    size_option: str = "--emb-size",
) -> None:
    """Refuse class weights or logits that MXNet 1.9.1 cannot index: its builds count elements in 32 bits.

    Raises
    ------
    InsightError
        Naming the option and the largest value that works.
    """
    rule = f"MXNet 1.9.1 indexes at most {MAX_ELEMENTS} elements of an array"
    if num_classes * embedding_size > MAX_ELEMENTS:
        raise InsightError(
            f"{size_option} {embedding_size} with {num_classes} identities: {rule}, the class weights would have "
            f"{num_classes * embedding_size}; use {size_option} {MAX_ELEMENTS // num_classes} or less"
        )
    if batch_per_device * num_classes > MAX_ELEMENTS:
        raise InsightError(
            f"{batch_option} {batch_per_device} with {num_classes} identities: {rule}, the logits would have "
            f"{batch_per_device * num_classes}; use {batch_option} {MAX_ELEMENTS // num_classes} or less"
        )


def refuse_unaffordable(prediction: Prediction, devices: list, batch_option: str = "--per-batch-size") -> None:
    """Refuse a run whose counted part alone is more than the devices' memory.

    Parameters
    ----------
    prediction : Prediction
    devices : list of mxnet.Context
        CPU devices share the machine's memory; of a GPU, what is free counts.

    Raises
    ------
    InsightError
        Naming what is needed, what is there, and the batch that would fit if any does.
    """
    if devices[0].device_type == "cpu":
        memory, needed, copies = machine_memory(), len(devices) * prediction.certain, len(devices)
        where = "this machine"
    else:
        free = {str(device): mx.context.gpu_memory_info(device.device_id)[0] for device in devices}
        where = min(free, key=free.__getitem__)
        memory, needed, copies = free[where], prediction.certain, 1
    if needed <= memory:
        return
    fixed = copies * (prediction.certain - prediction.logits)
    batch = int((memory - fixed) / (copies * prediction.logits) * prediction.batch)
    remedy = f"{batch_option} {batch} would fit" if batch >= 1 else "a smaller --emb-size or fewer identities may fit"
    parts = ("network", "classes", "logits")
    shown = ", ".join(f"{part} {copies * getattr(prediction, part) / 1e9:.1f}" for part in parts)
    raise InsightError(
        f"{batch_option} {prediction.batch}: training needs at least {needed / 1e9:.1f} GB ({shown}), and {where} "
        f"has {memory / 1e9:.1f} GB; {remedy}"
    )


def machine_memory() -> int:
    """Bytes that this process may use: the container's limit, else what is built in."""
    room = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in CGROUP_LIMITS:
        try:
            room = min(room, int(Path(path).read_text()))
        except (OSError, ValueError):  # not this version of cgroups, or "max"
            continue
    return room


def _resident() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError):  # not Linux
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
