"""Triplets that are mined in a bag of images by the network itself, as InsightFace's triplet trainer does it.

The identities are shuffled, and of each the first K of its shuffled images follow one another. The next images of this
walk, a bag, are embedded by the network as it stands (inference, no augmentation), triplets are picked among them,
shuffled, and given batch by batch until none is left for a whole batch. Then comes the next bag.

Source: src/triplet_image_iter.py, deepinsight/insightface@9fc3cc9c (``triplet_reset``, ``select_triplets``). There the
random numbers have no seed; here they are functions of the run's seed and the number of the walk or the bag.
"""

from __future__ import annotations

import time
from typing import Any, Dict, List, Optional

import numpy as np

from ...errors import InsightError
from ...mining import picking
from ...mining.distances import to_unit
from ...options import Option
from .. import draws
from . import samplers
from .balanced import IMAGES_PER_IDENTITY, NO_PAIRS
from .sampler import Mined, Sampler

EMPTY_BAGS = 10  # in a row, until the run is stopped
BATCHES = 2  # that wait, at least, before training goes on


@samplers.register("bag")
class Bag(Sampler):
    """Batches of mined triplets: in each device's part anchors, then positives, then negatives."""

    name = "bag"
    selected_by = "--mining bag (--sampler bag)"
    MULTIPLE = 3
    OPTIONS = (
        IMAGES_PER_IDENTITY,
        Option(
            "triplet_bag_size",
            3600,
            "images that are embedded to pick triplets among them; rounded to whole batches",
            holds=lambda images: images > 0,
            rule="must be above 0",
        ),
        picking.ALPHA,
        picking.MAX_AP,
    )

    def __init__(self, *arguments, **values):
        super().__init__(*arguments, **values)
        labels = self.labels[self.positions]
        _, self._identity, counts = np.unique(labels, return_inverse=True, return_counts=True)
        if counts.max() < 2:
            raise InsightError(NO_PAIRS)
        length = int(np.minimum(counts, self.options.images_per_identity).sum())
        self.bag_size = self._bag_size(length)
        self.batches_per_epoch = max(1, length // self.batch_size)
        singles = int((counts == 1).sum())
        if singles:
            self.notes.append(f"{singles} of {len(counts)} identities have one image: they occur only as negatives")
        self._walk: Optional[np.ndarray] = None  # positions in order; made when it is needed
        self._walks = self._begin = self._bags = 0  # number of the walk, place in it, bags so far
        self._queue: List[int] = []  # positions; never changed once batches are taken from it
        self._used = 0
        self._filling = False
        self._empty = 0
        self._seconds = [0.0, 0.0, 0.0]
        self._mark = 0.0

    def _bag_size(self, length: int) -> int:
        asked = self.options.triplet_bag_size
        size = min(asked, length) // self.batch_size * self.batch_size
        if not size:
            raise InsightError(
                f"--triplet-bag-size {min(asked, length)}: smaller than a batch of {self.batch_size} images (the set "
                f"has {length} at {self.options.images_per_identity} an identity); use a larger bag or smaller batches"
            )
        if size != asked:
            reason = f", of the {length} that the set has at --images-per-identity" if length < asked else ""
            self.notes.append(
                f"--triplet-bag-size {asked}: {size} are used, whole batches of {self.batch_size}{reason}"
            )
        return size

    def round(self, step: int) -> int:
        """The step: an image may be in many triplets of an epoch."""
        return step

    @property
    def looked_at(self) -> int:
        return self.bag_size

    def look(self, step: int) -> Optional[np.ndarray]:
        if not self._filling and len(self._queue) - self._used < self.batch_size:
            self._queue, self._used, self._filling = [], 0, True
        if not self._filling or len(self._queue) >= BATCHES * self.batch_size:
            self._filling = False
            return None
        self._mark = time.perf_counter()
        if self._walk is None:
            self._walk = self._shuffled()
        if self._begin + self.bag_size > len(self._walk):
            self._walks, self._begin = self._walks + 1, 0
            self._walk = self._shuffled()
        self._spend(0)
        return self._walk[self._begin : self._begin + self.bag_size]

    def _shuffled(self) -> np.ndarray:
        """Identities in a random order, and of each the first K of its images in a random order."""
        draw = draws.generator(self.seed, self._walks, draws.BAG)
        place = draw.permutation(int(self._identity.max()) + 1)[self._identity]
        order = np.lexsort((draw.random(len(place)), place))
        begins = np.flatnonzero(np.r_[True, place[order][1:] != place[order][:-1]])
        number = np.arange(len(order)) - np.repeat(begins, np.diff(np.r_[begins, len(order)]))
        return self.positions[order[number < self.options.images_per_identity]]

    def mine(self, embeddings: np.ndarray) -> Mined:
        self._spend(1)
        bag = self._walk[self._begin : self._begin + self.bag_size]
        labels = self.labels[bag]
        pairs = picking.positive_pairs(labels)
        draw = picking.generator(self.seed, self._bags)
        unit, _ = to_unit(embeddings)
        uniforms = draw.random(len(pairs))
        triplets = picking.joined(
            picking.pick(unit, labels, pairs, uniforms, self.options.triplet_alpha, self.options.triplet_max_ap)
        )
        shuffled = np.stack(triplets)[:, draw.permutation(len(triplets))]
        each = self.batch_size // self.devices // 3
        for begin in range(0, len(triplets) - each + 1, each):
            self._queue += bag[shuffled[:, begin : begin + each].ravel()].tolist()
        mined_from = self._begin
        self._begin += self.bag_size
        self._bags += 1
        self._empty = self._empty + 1 if len(triplets) < each else 0
        self._spend(2)
        if self._empty == EMPTY_BAGS:
            raise InsightError(
                f"{EMPTY_BAGS} bags in a row gave no batch of triplets (the last one {len(triplets)}, a batch takes "
                f"{each} on each device): no negatives within --triplet-alpha {self.options.triplet_alpha:g} behind "
                "the positives; use a larger bag or a larger alpha, or end here: the network separates this set"
            )
        return Mined(len(bag), mined_from, len(triplets), len(self._queue), tuple(self._seconds))

    def _spend(self, what: int) -> None:
        now = time.perf_counter()
        self._seconds[what] += now - self._mark
        self._mark = now

    def batch(self, step: int) -> np.ndarray:
        positions = self._queue[self._used : self._used + self.batch_size]
        self._used += self.batch_size
        return np.array(positions, np.int64)

    def state(self) -> Dict[str, Any]:
        return {
            "walks": self._walks,
            "begin": self._begin,
            "bags": self._bags,
            "queue": self._queue,
            "used": self._used,
        }

    def restore(self, state: Dict[str, Any]) -> None:
        self._walks, self._begin, self._bags = state["walks"], state["begin"], state["bags"]
        self._queue, self._used = state["queue"], state["used"]
        self._walk, self._filling, self._empty = None, False, 0
