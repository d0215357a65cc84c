"""What a measurement's own process does: open one model in one runtime, embed the faces, take the times.

Its stdout is a line of JSON per fact, flushed at once, so that what was measured before a crash is kept.
"""

from __future__ import annotations

import json
import time
from typing import Any, Callable, List, Optional, Tuple

import numpy as np

from ..errors import InsightError
from .rows import PLAIN, Row, convert

LEAST_CALLS = 3  # timed ones, however long one takes
WARM_UP = 0.25  # of the timed seconds; one call at least, which plans, allocates and reads pages


def main(job: dict) -> None:
    """Do one job: ``{"task": "convert", ...}`` or ``{"task": "measure", ...}``; see the functions of that name."""
    tasks = {"convert": _convert, "measure": _measure}
    try:
        tasks[job.pop("task")](**job)
    except InsightError as error:
        _say(error=str(error))


def _convert(row: list, path: str, image_size: Optional[Tuple[int, int]] = None) -> None:
    _say(notes=convert(Row(*row), path, image_size))


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
    """Time calls with each number of images; ``keep`` is the .npy file for the embeddings, or empty."""
    network = _open(Row(*row), path, threads, max(batches), image_size)
    images = _faces(faces, count, network.image_size)
    if keep:
        np.save(keep, network(images))
    _say(image_size=network.image_size, notes=network.notes)  # once the embeddings are there: it says so
    for batch in batches:
        some = np.resize(images, (batch, *images.shape[1:]))  # over and over, where there are too few
        _say(batch=batch, seconds=timed(lambda some=some: network(some), seconds))


def _open(row: Row, path: str, threads: int, most: int, image_size: Optional[Tuple[int, int]] = None):
    """Plain MXNet takes up to ``most`` images at once; an engine cuts them into batches as it always does."""
    if (row.runtime, row.graph) == PLAIN:
        from .plain import PlainMXNet

        return PlainMXNet(path, most, image_size)
    from .. import engines

    options = {"graph": row.graph or "fast", "engine": row.runtime, "dtype": row.dtype}
    if image_size:
        options["image_size"] = image_size
    return engines.load(path, threads=threads, **options)


def _faces(path: Optional[str], count: int, size) -> np.ndarray:
    """(N, 3, H, W) uint8, RGB."""
    from ..export.parity import random_faces
    from ..faces.sources import image_source

    return (image_source(path).spread if path else random_faces)(count, tuple(size))


def timed(call: Callable[[], Any], seconds: float, clock: Callable[[], float] = time.perf_counter) -> List[float]:
    """Seconds of each call, warm-up left out: as many as fit, and LEAST_CALLS at least."""
    start = clock()
    call()
    while clock() - start < WARM_UP * seconds:
        call()
    times: List[float] = []
    end = clock() + seconds
    while len(times) < LEAST_CALLS or clock() < end:
        begun = clock()
        call()
        times.append(clock() - begun)
    return times


def _say(**facts) -> None:
    print(json.dumps(facts), flush=True)
