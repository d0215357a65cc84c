"""Triplet loss with triplets from the sampler ``bag``.

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
    """Mean triplet loss of batches in which each device's part is a third each of anchors, positives and negatives.

    The option ``triplet_max_ap`` acts in the sampler, which picks the triplets.
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
    """Row numbers of the triplets of a batch.

    Parameters
    ----------
    rows : int
        Number of rows of the batch of all devices; a multiple of 3 on each device.
    devices : int
        Number of devices over all ranks.

    Returns
    -------
    Triplets
    """
    numbers = np.arange(rows).reshape(devices, 3, -1)
    return Triplets(*(numbers[:, part].ravel() for part in range(3)))
