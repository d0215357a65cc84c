"""The default sampler: each image once per epoch, in a random order; the last partial batch is dropped."""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np

from .. import draws
from . import samplers
from .sampler import Sampler


@samplers.register("shuffled")
class Shuffled(Sampler):
    """The order of an epoch is a permutation that depends on (seed, epoch) alone."""

    name = "shuffled"
    _order: Optional[Tuple[int, np.ndarray]] = None  # (epoch, its permutation), of the current epoch

    def batch(self, step: int) -> np.ndarray:
        epoch, number = divmod(step, self.batches_per_epoch)
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, draws.epoch_order(self.seed, epoch, len(self.positions))
        begin = number * self.batch_size
        return self.positions[self._order[1][begin : begin + self.batch_size]]
