"""Worker process of a benchmark: it opens one model in one runtime, embeds the faces and times calls.

It prints each fact as one line of JSON and flushes it immediately, so that measurements before a crash are kept.
"""

from __future__ import annotations

import json
import time
from typing import Any, Callable, List, Optional, Tuple

import numpy as np

from ..errors import InsightError
from .rows import PLAIN, Row, convert

LEAST_CALLS = 3  # minimum number of timed calls
WARM_UP = 0.25  # fraction of the timed seconds; at least one call, which plans, allocates and faults pages in


def main(job: dict) -> None:
    """Run one job: ``{"task": "convert", ...}`` or ``{"task": "measure", ...}``.

    The other items are the arguments of the function of that name.
    """
    tasks = {"convert": _convert, "measure": _measure}
    try:
        tasks[job.pop("task")](**job)
    except InsightError as error:
        _print(error=str(error))


def _convert(row: list, path: str, image_size: Optional[Tuple[int, int]] = None) -> None:
    _print(notes=convert(Row(*row), path, image_size))


def _measure(
    row: list,
    path: str,
    threads: int,
    batches: List[int],
    seconds: float,
    faces: Optional[str],
    count: int,
    keep: str,
    image_size: Optional[Tuple[int, int]] = None,
) -> None:
    """Time calls for each number of images per call.

    ``keep`` is the .npy file to which the embeddings of the faces are written, or empty.
    """
    network = _open(Row(*row), path, threads, max(batches), image_size)
    images = _faces(faces, count, network.image_size)
    if keep:
        np.save(keep, network(images))
    _print(image_size=network.image_size, notes=network.notes)  # also tells that the embeddings are saved
    for batch in batches:
        inputs = np.resize(images, (batch, *images.shape[1:]))  # repeats the images if there are too few
        _print(batch=batch, seconds=timed(lambda inputs=inputs: network(inputs), seconds))


def _open(row: Row, path: str, threads: int, most: int, image_size: Optional[Tuple[int, int]] = None):
    """Open the network of a row: plain MXNet with batches of up to ``most`` images, or an engine."""
    if (row.runtime, row.graph) == PLAIN:
        from .plain import PlainMXNet

        return PlainMXNet(path, most, image_size)
    from .. import engines

    options = {"graph": row.graph or "fast", "engine": row.runtime, "dtype": row.dtype}
    if image_size:
        options["image_size"] = image_size
    return engines.load(path, threads=threads, **options)


def _faces(path: Optional[str], count: int, size) -> np.ndarray:
    """Images (N, 3, H, W) uint8, RGB, from a path or generated."""
    from ..export.parity import random_faces
    from ..faces.sources import image_source

    return (image_source(path).spread if path else random_faces)(count, tuple(size))


def timed(call: Callable[[], Any], seconds: float, clock: Callable[[], float] = time.perf_counter) -> List[float]:
    """Durations of calls in seconds. After a warm-up, calls are timed for ``seconds``, at least LEAST_CALLS calls."""
    start = clock()
    call()
    while clock() - start < WARM_UP * seconds:
        call()
    times: List[float] = []
    end = clock() + seconds
    while len(times) < LEAST_CALLS or clock() < end:
        begin = clock()
        call()
        times.append(clock() - begin)
    return times


def _print(**facts) -> None:
    print(json.dumps(facts), flush=True)
