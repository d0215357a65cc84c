"""Initial class weights of one rank, where the classes are sharded.

Each row is a function of the seed and the class, so that the weights do not depend on the number of ranks.
"""

from __future__ import annotations

import math
from typing import Tuple

import numpy as np

from .._mxnet import mx

CELL = 1024  # classes per random generator
STREAM = 0xD2  # last word of the generators' seeds; insight.feed.draws lists those of others


class RowsOfWhole(mx.init.Initializer):
    """Initialise a parameter with a range of the rows of a larger array, which is never allocated.

    MXNet's initializers cannot do this: their random numbers, and the scale of Xavier, depend on the array's shape.

    Parameters
    ----------
    like : mxnet.init.Xavier or mxnet.init.Normal
        Distribution and scale.
    classes : int
        Number of classes of the larger array.
    begin : int
        First class of the parameter.
    centres : int
        Rows per class.
    seed : int
        Seed of the run.
    """

    def __init__(self, like: mx.init.Initializer, classes: int, begin: int, centres: int, seed: int):
        super().__init__()
        self._like, self._classes, self._begin, self._centres, self._seed = like, classes, begin, centres, seed

    def _init_weight(self, name, arr) -> None:
        by_class = arr.reshape((-1, self._centres * arr.shape[1]))
        uniform, scale = _spread(self._like, (self._classes * self._centres, arr.shape[1]))
        end = self._begin + by_class.shape[0]
        for cell in range(self._begin // CELL, -(-end // CELL)):
            generator, shape = np.random.default_rng([self._seed, cell, STREAM]), (CELL, by_class.shape[1])
            rows = generator.random(shape, np.float32) if uniform else generator.standard_normal(shape, np.float32)
            rows = np.float32(scale) * (2 * rows - 1 if uniform else rows)
            low, high = max(self._begin, cell * CELL), min(end, (cell + 1) * CELL)
            by_class[low - self._begin : high - self._begin] = rows[low - cell * CELL : high - cell * CELL]


def _spread(like: mx.init.Initializer, shape: Tuple[int, int]) -> Tuple[bool, float]:
    """(whether uniform, bound or standard deviation) of an initializer for an array of ``shape``."""
    if isinstance(like, mx.init.Normal):
        return False, like.sigma
    fan_out, fan_in = shape
    fans = {"avg": (fan_in + fan_out) / 2, "in": fan_in, "out": fan_out}
    return like.rnd_type == "uniform", math.sqrt(like.magnitude / fans[like.factor_type])
