"""What the contenders of learning.py share: the clock, the schedule and the order of the images. Needs NumPy only."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Callable, Iterator, Tuple

import numpy as np

PEAK, WARM_UP = 0.1, 0.05  # learning rate; share of the time in which it rises
MOMENTUM, DECAY = 0.9, 5e-4
EMBEDDING, S, M = 128, 32.0, 0.4  # a scale of 64 takes longer to start from random weights
BATCH = 64


class Clock:
    """Minutes of training; what happens in a pause is not counted."""

    def __init__(self, minutes: float):
        self._total = 60 * minutes
        self._seconds, self._since = 0.0, None

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return self._seconds + (time.perf_counter() - self._since if self._since is not None else 0.0)

    def run(self) -> None:
        """Start or go on."""
        self._since = time.perf_counter()

    def pause(self) -> None:
        """Stop until :meth:`run`."""
        self._seconds, self._since = self.seconds, None

    def rate(self) -> float:
        """Learning rate: linear warm-up, then half a cosine to 0 at the end of the minutes."""
        share = min(self.seconds / self._total, 1.0)
        return PEAK * min(share / WARM_UP, 1.0) * (1 + math.cos(math.pi * share)) / 2


def batches(count: int, seed: int) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
    """(positions, which are mirrored) of batches without end: each epoch a new order, without its last part."""
    generator = np.random.default_rng(seed)
    while True:
        order = generator.permutation(count)
        for begin in range(0, count - BATCH + 1, BATCH):
            yield order[begin : begin + BATCH], generator.random(BATCH) < 0.5


def learn(folder: Path, minutes: int, step: Callable[[float], None], embed: Callable[[], np.ndarray]) -> None:
    """Train for so many minutes, and embed the held-out images at the end of each.

    Parameters
    ----------
    folder : Path
        Gets ``minute-N.npy``, (images, E), and a line of ``steps.jsonl`` for each minute.
    minutes : int
    step : callable (learning rate) -> None
        One step, waited for. The first two, in which frameworks compile, are taken at a rate of 0 and not counted.
    embed : callable () -> np.ndarray
    """
    step(0.0)
    step(0.0)
    clock, steps = Clock(minutes), 0
    with open(folder / "steps.jsonl", "w", encoding="utf-8") as log:
        for minute in range(1, minutes + 1):
            clock.run()
            while clock.seconds < 60 * minute:
                step(clock.rate())
                steps += 1
            clock.pause()
            np.save(folder / f"minute-{minute}.npy", embed())
            print(json.dumps({"minute": minute, "steps": steps}), file=log, flush=True)
