"""Cleaning by sub-centres: what a training with several centres an identity has learned about its own images.

Wrong images gather at a centre of their own, since an image pulls only the nearest of its identity's centres. The
dominant centre is the nearest of most images; an image at more than an angle from it is dropped. Source: sub-centre
ArcFace (ECCV 2020), InsightFace ``recognition/subcenter_arcface/drop.py`` @60fc1226.

Shapes: n images of an identity, C identities, K centres of each, E length of an embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Dict

import numpy as np

from ..errors import InsightError
from ..faces.unit import scale_to_unit
from ..formats.faceset import FaceSet
from .outliers import copies
from .verdict import COPY, Judge, Verdict, with_copies

FAR_FROM_CENTRE = "far from centre"
ANGLE = 75.0
NO_COPIES = 2.0


@dataclass(frozen=True, eq=False)
class CentreRules(Judge):
    """The centres of a training, and the rules of the cleaning by them.

    Attributes
    ----------
    centres : numpy.ndarray
        (C, K, E) float32, of any length; those of label c in the set are ``centres[c]``.
    angle : float
        An image whose angle to the dominant centre is larger is dropped, degrees.
    copy : float
        As :attr:`insight.curate.thresholds.CleanRules.copy`. A network knows the images that it was trained on: theirs
        are closer to each other than other images of one person, so the default drops none.
    source : str
        Of the centres, in messages.
    trained_on : str
        Fingerprint of the set of that training (:meth:`insight.formats.faceset.FaceSet.fingerprint`); empty: unknown.
    """

    centres: np.ndarray
    angle: float = ANGLE
    copy: float = NO_COPIES
    source: str = "the checkpoint"
    trained_on: str = ""

    WORDS: ClassVar[Dict[str, str]] = {FAR_FROM_CENTRE: "far from the centre of most", COPY: "copies"}

    def check(self) -> None:
        """Raise InsightError if a value is out of range."""
        if not 0 < self.angle <= 180:
            raise InsightError(f"--angle {self.angle}: want degrees above 0, 180 at most")
        if not -1 <= self.copy <= 2:
            raise InsightError(f"--copy {self.copy}: want a cosine from -1 to 2")
        if not np.isfinite(self.centres).all():
            raise InsightError(f"{self.source}: its class centres are not finite; the training had diverged")

    def check_set(self, faces: FaceSet) -> None:
        """Refuse a set that the centres were not trained on, as far as its size or the training's log shows that."""
        known = len(self.centres)
        if faces.num_classes != known or faces.labels.max() >= known or faces.labels.min() < 0:
            raise InsightError(
                f"{self.source}: has centres of {known} identities, {faces.rec_path} has {faces.num_classes}, labels "
                f"{faces.labels.min()} to {faces.labels.max()}; give the set that it was trained on"
            )
        if self.trained_on not in ("", faces.fingerprint()):
            raise InsightError(
                f"{self.source}: was trained on another set than {faces.rec_path}, as its log says, or on its images "
                "in another order; give the set that it was trained on"
            )

    def judge(self, label: int, rows: np.ndarray) -> Verdict:
        """As the base says. Copies have no vote. Of centres with as many votes that with the closer images dominates.

        The number of the person is that of the nearest centre, by votes: 0 is the dominant one.
        """
        copy_of = copies(rows, self.copy) if self.copy <= 1 else np.full(len(rows), -1, np.int64)
        cosines = rows @ scale_to_unit(self.centres[label].copy()).T
        nearest = cosines.argmax(1)
        voters = np.flatnonzero(copy_of < 0)
        votes, closeness = np.zeros((2, cosines.shape[1]))
        np.add.at(votes, nearest[voters], 1)
        np.add.at(closeness, nearest[voters], cosines[voters].max(1))
        by_votes = np.lexsort((-closeness, -votes))
        person = np.argsort(by_votes)[nearest]
        cosine = cosines[:, by_votes[0]]
        reason = np.full(len(rows), "", object)
        reason[cosine < math.cos(math.radians(self.angle))] = FAR_FROM_CENTRE
        repeats, cosine = with_copies(rows, copy_of, cosine)
        reason[repeats] = COPY
        kept = np.flatnonzero(reason == "")
        return Verdict(person, reason.tolist(), cosine, copy_of, [kept] if len(kept) else [], people=1)
