"""``--devices``: the devices of a run, their shares of a batch, and checks of arrays on all of them."""

from __future__ import annotations

from typing import Any, Union

import numpy as np

from .._mxnet import mx
from ..errors import InsightError
from ..runs.stepfigures import Histogram

AT_ONCE = 200  # arrays per call of multi_all_finite


def parse(text: str, local_rank: int = 0, local_size: int = 1) -> list:
    """Parse ``--devices`` into a list of contexts.

    ``0,1`` are GPUs; ``cpu`` is the CPU, and ``cpu,cpu`` two devices on it. An empty text means all GPUs that MXNet
    sees (CUDA_VISIBLE_DEVICES selects them), or the CPU if there is none. Ranks of a machine divide its GPUs equally.

    Parameters
    ----------
    text : str
    local_rank, local_size : int
        Number of this process among those of its machine, and how many there are.

    Raises
    ------
    InsightError
        A word is neither a number nor ``cpu``, both kinds are mixed, a GPU does not exist or is named twice, or the
        ranks cannot divide the GPUs equally.
    """
    gpus = mx.context.num_gpus()
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    if not words:
        return [mx.gpu(i) for i in _of_rank(list(range(gpus)), local_rank, local_size)] or [mx.cpu(0)]
    if all(word == "cpu" for word in words):
        return [mx.cpu(i) for i in range(len(words))]
    if not all(word.isdigit() for word in words):
        raise InsightError(f"--devices {text}: must be numbers of GPUs, like 0,1, or cpu, or cpu,cpu")
    numbers = [int(word) for word in words]
    absent = [number for number in numbers if number >= gpus]
    if absent:
        raise InsightError(f"--devices {text}: MXNet sees {gpus} GPUs, numbered from 0; run: insight doctor")
    if len(set(numbers)) < len(numbers):
        raise InsightError(f"--devices {text}: a GPU is named twice")
    return [mx.gpu(number) for number in _of_rank(numbers, local_rank, local_size)]


def _of_rank(gpus: list, local_rank: int, local_size: int) -> list:
    """A rank's share of its machine's GPUs."""
    each, left = divmod(len(gpus), local_size)
    if left:
        raise InsightError(
            f"{local_size} ranks of this machine cannot share its {len(gpus)} GPUs equally; start as many ranks as "
            "GPUs, or name the GPUs with --devices"
        )
    return gpus[local_rank * each : (local_rank + 1) * each]


def shares(batch, devices: list) -> list:
    """Split a batch along axis 0 into contiguous equal parts, each on its device."""
    if len(devices) == 1:
        return [batch.as_in_context(devices[0])]
    size = batch.shape[0] // len(devices)
    return [batch[i * size : (i + 1) * size].as_in_context(device) for i, device in enumerate(devices)]


def all_finite(arrays: list) -> bool:
    """Whether the arrays hold neither NaN nor infinity; waits for the result."""
    checks = [
        mx.nd.multi_all_finite(*group, num_arrays=len(group), init_output=True) for group in _groups_by_device(arrays)
    ]
    return all(bool(check.asscalar()) for check in checks)


def _groups_by_device(arrays: list):
    for device in sorted({str(array.context) for array in arrays}):
        here = [array for array in arrays if str(array.context) == device]
        yield from (here[i : i + AT_ONCE] for i in range(0, len(here), AT_ONCE))


def on_host(figure: Any) -> Union[np.ndarray, Histogram]:
    """Copy a figure of :class:`insight.objectives.objective.StepResult` to the host; waits for it."""
    if isinstance(figure, Histogram):
        return figure
    if isinstance(figure, list):
        return np.concatenate([part.asnumpy() for part in figure]).astype(np.float32)
    return np.asarray(figure.asscalar() if isinstance(figure, mx.nd.NDArray) else figure)
