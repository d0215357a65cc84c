"""Batches of P identities x K images for triplets, filled up with images of other people.

Sources: training/train.lua of cmusatyalab/openface@05147522 and arXiv:1703.07737 for P x K; FaceNet, arXiv:1503.03832,
section 3.2, for the additional random negatives.
"""

from __future__ import annotations

from typing import ClassVar, Optional, Tuple

import numpy as np

from ...errors import InsightError
from ...options import Option
from .. import draws
from . import samplers
from .sampler import Sampler

IMAGES_PER_IDENTITY = Option(
    "images_per_identity",
    5,
    "K: images of an identity in a batch, or in a bag, at most",
    holds=lambda images: images >= 2,
    rule="must be at least 2: a triplet has two images of one identity",
)
NO_PAIRS = "no identity of the set has two images, which triplets need; train with train-softmax instead"


@samplers.register("balanced")
class Balanced(Sampler):
    """K random images of each of P identities. An epoch is one pass over the identities, in a new random order.

    An identity with fewer than K images contributes all of them. The remaining places (``--random-negatives``, and what
    P x K leaves of the batch) are filled with random images of people who are not among the P. Identities with one
    image occur only there.
    """

    name = "balanced"
    selected_by = "--mining batch (--sampler balanced)"
    OPTIONS = (
        IMAGES_PER_IDENTITY,
        Option(
            "people_per_batch",
            0,
            "P: identities in a batch, over all devices; 0: as many as fit, of those with two images or more",
            holds=lambda people: people >= 0,
            rule="must be 0 or more",
        ),
        Option(
            "random_negatives",
            0,
            "images of other people in a batch, over all devices, beside P x K",
            holds=lambda images: images >= 0,
            rule="must be 0 or more",
        ),
    )
    ELSEWHERE: ClassVar = {"triplet_bag_size": "--mining bag"}
    _order: Optional[Tuple[int, np.ndarray]] = None  # (epoch, its order of the identities), of the current epoch

    def __init__(self, *arguments, **values):
        super().__init__(*arguments, **values)
        labels = self.labels[self.positions]
        self._images = self.positions[np.argsort(labels, kind="stable")]  # identity after identity
        _, self._begins, self._counts = np.unique(self.labels[self._images], return_index=True, return_counts=True)
        self._eligible = np.flatnonzero(self._counts >= 2)
        self.people = self._people()
        self.batches_per_epoch = max(1, len(self._eligible) // self.people)
        self._note_singles()

    def _people(self) -> int:
        """P, after checking that the options allow batches at all."""
        each, negatives = self.options.images_per_identity, self.options.random_negatives
        asked, room, eligible = self.options.people_per_batch, self.batch_size - negatives, len(self._eligible)
        if not eligible:
            raise InsightError(NO_PAIRS)
        people = asked or room // each
        if people * each > room or people < 1 or (people == 1 and each == self.batch_size):
            beside = f" beside --random-negatives {negatives}" if negatives else ""
            wanted = f"{asked} identities of" if asked else "two identities of"
            raise InsightError(
                f"--images-per-identity {each}: a batch of {self.batch_size} images has no place for {wanted} {each} "
                f"images{beside}; use fewer images per identity, or a larger --per-batch-size"
            )
        if asked > eligible:
            raise InsightError(
                f"--people-per-batch {asked}: only {eligible} of the {len(self._counts)} identities have two images or "
                "more, which triplets need; use fewer people"
            )
        people = min(people, eligible)
        short = int(self._counts[self._eligible].min()) < each or people * each < self.batch_size
        if short and people == len(self._counts):
            raise InsightError(
                f"--per-batch-size: a batch takes all {people} identities, and none is left to fill its "
                f"{self.batch_size} images; use fewer --people-per-batch, or a smaller batch"
            )
        return people

    def _note_singles(self) -> None:
        singles = len(self._counts) - len(self._eligible)
        if singles:
            filled = self.people * self.options.images_per_identity < self.batch_size
            use = "occur only as random negatives" if filled else "are left out; --random-negatives takes them"
            self.notes.append(f"{singles} of {len(self._counts)} identities have one image: they {use}")

    def batch(self, step: int) -> np.ndarray:
        epoch, number = divmod(step, self.batches_per_epoch)
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, self._eligible[draws.epoch_order(self.seed, epoch, len(self._eligible))]
        people = self._order[1][number * self.people : (number + 1) * self.people]
        draw = draws.generator(self.seed, step, draws.PEOPLE)
        rows = [self._begins[i] + draw.permutation(self._counts[i])[: self.options.images_per_identity] for i in people]
        rows.append(self._others(people, self.batch_size - sum(map(len, rows)), draw))
        return self._images[np.concatenate(rows)]

    def _others(self, people: np.ndarray, count: int, draw: np.random.Generator) -> np.ndarray:
        """(count,) random rows of people who are not among ``people``, without repetition if there are enough."""
        people = np.sort(people)
        shares = np.cumsum(self._counts[people])
        free = len(self._images) - int(shares[-1])
        drawn = draw.choice(free, count, replace=count > free) if count else np.zeros(0, np.int64)
        # `drawn` counts only rows of other people; to get a row, add the rows of `people` that precede it.
        before = np.r_[0, shares]
        return drawn + before[np.searchsorted(self._begins[people] - before[:-1], drawn, side="right")]
