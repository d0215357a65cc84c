"""Triplets that the sampler ``bag`` has mined: a third each of anchors, positives and negatives.

Source: src/train_triplet.py, deepinsight/insightface@9fc3cc9c.
"""

from __future__ import annotations

from typing import Iterable

import numpy as np

from ..mining.picking import Triplets
from . import objectives
from .triplet import ALL, COMMON, Triplet, mean_over


@objectives.register("triplet_bag")
class TripletBag(Triplet):
    """Mean triplet loss of batches whose device parts are anchors, then positives, then negatives.

    ``triplet_max_ap`` is the sampler's, which has picked the triplets.
    """

    name = "triplet_bag"
    selected_by = "--mining bag"
    OPTIONS = (*COMMON, mean_over(ALL))
    sampler = "bag"

    def _remedy(self) -> str:
        return "use a larger --triplet-bag-size or --triplet-alpha"

    def _loss(self, rows: np.ndarray, labels: np.ndarray, devices: int, step: int) -> tuple:
        triplets = thirds(len(rows), devices)

        def blocks(unit: np.ndarray) -> Iterable[Triplets]:
            yield triplets

        return len(triplets), self._of(rows, blocks)


def thirds(rows: int, devices: int) -> Triplets:
    """The triplets of a batch, in rows of the whole batch.

    Parameters
    ----------
    rows : int
        A multiple of 3 on each device.
    devices : int
    """
    numbers = np.arange(rows).reshape(devices, 3, -1)
    return Triplets(*(numbers[:, part].ravel() for part in range(3)))
