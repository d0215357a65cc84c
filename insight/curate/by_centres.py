"""Cleaning by the class centres of a training with several sub-centres per identity.

In such a training, an image attracts only the nearest sub-centre of its identity, so mislabelled images gather at
sub-centres of their own. The dominant sub-centre is that which is nearest to most images. Images whose angle to it
exceeds a threshold are dropped. Source: sub-centre ArcFace (ECCV 2020), InsightFace
``recognition/subcenter_arcface/drop.py`` @60fc1226.

Shapes: n is the number of images of an identity, C of identities, K of sub-centres per identity, E the embedding size.
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
    """Class centres of a training, and the rules for cleaning by them.

    Attributes
    ----------
    centres : numpy.ndarray
        (C, K, E) float32, rows of any length. ``centres[c]`` are the sub-centres of label c.
    angle : float
        Images with a larger angle to the dominant sub-centre are dropped. In degrees, (0, 180].
    copy : float
        As :attr:`insight.curate.thresholds.CleanRules.copy`. On its own training images, a network gives higher
        cosines between images of one person than on other images, so the default drops no copies.
    source : str
        Name of the file with the centres, for messages.
    trained_on : str
        Fingerprint of the training set (:meth:`insight.formats.faceset.FaceSet.fingerprint`); "" if unknown.
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
        """Raise InsightError if the number of classes or the fingerprint shows that this is not the training set."""
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
        """Judge the images of one identity; see :meth:`Judge.judge`.

        Each image except copies votes for its nearest sub-centre. The sub-centre with most votes is dominant; in case
        of a tie, that with the largest sum of cosines. ``person`` is the rank of an image's nearest sub-centre by
        votes, so 0 is the dominant one. ``cosine`` is that to the dominant sub-centre.
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
