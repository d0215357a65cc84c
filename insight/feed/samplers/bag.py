"""Triplets mined by the network in bags of images, as InsightFace's triplet trainer does it.

A walk through the set shuffles the identities and takes K random images of each, identity after identity. The next
``--triplet-bag-size`` images of the walk form a bag. The present network embeds the bag (inference, no augmentation).
Triplets are picked in it, shuffled, and used batch by batch, until fewer are left than a batch needs. Then the next bag
is embedded.

Source: src/triplet_image_iter.py, deepinsight/insightface@9fc3cc9c (``triplet_reset``, ``select_triplets``), where the
random numbers have no seed. Here they are functions of the run's seed and the number of the walk or bag.
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

EMPTY_BAGS = 10  # consecutive bags without a batch of triplets after which the run is stopped
BATCHES = 2  # minimum length of the queue, in batches, before training continues


@samplers.register("bag")
class Bag(Sampler):
    """Batches of mined triplets; each device's part consists of anchors, then positives, then negatives."""

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
        self._walk: Optional[np.ndarray] = None  # positions in order; created when it is needed
        self._walks = self._begin = self._bags = 0  # number of the walk, place of the next bag in it, bags so far
        self._queue: List[int] = []  # positions of the batches; not modified once batches are taken from it
        self._used = 0  # positions taken from the queue
        self._filling = False
        self._empty = 0  # consecutive bags without a batch of triplets
        self._seconds = [0.0, 0.0, 0.0]  # see Mined.seconds
        self._last_time = 0.0  # until when the time is counted in _seconds

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
        """The step, because an image may be in many triplets of an epoch, each with its own augmentation."""
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
        self._last_time = time.perf_counter()
        if self._walk is None:
            self._walk = self._shuffled()
        if self._begin + self.bag_size > len(self._walk):
            self._walks += 1
            self._begin = 0
            self._walk = self._shuffled()
        self._count_time(0)
        return self._walk[self._begin : self._begin + self.bag_size]

    def _shuffled(self) -> np.ndarray:
        """A new walk: the identities in a random order, K random images of each."""
        draw = draws.generator(self.seed, self._walks, draws.BAG)
        place = draw.permutation(int(self._identity.max()) + 1)[self._identity]
        order = np.lexsort((draw.random(len(place)), place))
        begins = np.flatnonzero(np.r_[True, place[order][1:] != place[order][:-1]])
        number = np.arange(len(order)) - np.repeat(begins, np.diff(np.r_[begins, len(order)]))
        return self.positions[order[number < self.options.images_per_identity]]

    def mine(self, embeddings: np.ndarray) -> Mined:
        self._count_time(1)
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
        self._count_time(2)
        if self._empty == EMPTY_BAGS:
            raise InsightError(
                f"{EMPTY_BAGS} bags in a row gave no batch of triplets (the last one {len(triplets)}, a batch takes "
                f"{each} on each device): no negatives within --triplet-alpha {self.options.triplet_alpha:g} behind "
                "the positives; use a larger bag or a larger alpha, or end here: the network separates this set"
            )
        return Mined(len(bag), mined_from, len(triplets), len(self._queue), tuple(self._seconds))

    def _count_time(self, activity: int) -> None:
        """Add the time since the last call to an activity of :attr:`Mined.seconds`."""
        now = time.perf_counter()
        self._seconds[activity] += now - self._last_time
        self._last_time = now

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
