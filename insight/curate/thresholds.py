"""Cleaning of an identity by thresholds on cosines between its images, and to their robust centre."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Dict

import numpy as np

from ..errors import InsightError
from .outliers import copies, people, robust_centre
from .verdict import COPY, Judge, Verdict, with_copies

DROP_SMALLER, SPLIT, KEEP = "drop-smaller", "split", "keep"
SECOND, FAR = "second person", "far"


@dataclass(frozen=True)
class CleanRules(Judge):
    """Thresholds of the cleaning. All numbers but ``smallest`` are cosines.

    Attributes
    ----------
    threshold : float
        Images with a lower cosine to the robust centre of their person are dropped; -1 drops none.
    copy : float
        Images with at least this cosine to an earlier image of their identity are copies; a value above 1 drops none.
    apart : float
        Two groups of an identity's images are two people if the cosine of their centres is lower; -1 finds none.
    smallest : int
        Minimum number of images of each of two people.
    on_two : str
        Treatment of an identity that is several people: ``drop-smaller`` keeps the person with most images, ``split``
        makes each person an identity, ``keep`` keeps them as one identity.
    """

    threshold: float = 0.3
    copy: float = 0.95
    apart: float = 0.3
    smallest: int = 3
    on_two: str = DROP_SMALLER

    WORDS: ClassVar[Dict[str, str]] = {FAR: "far from their centre", SECOND: "of a second person", COPY: "copies"}

    def check(self) -> None:
        """Raise InsightError if a value is out of range."""
        for option, value, low, high in (
            ("--threshold", self.threshold, -1, 1),
            ("--copy", self.copy, -1, 2),
            ("--apart", self.apart, -1, 1),
        ):
            if not low <= value <= high:
                raise InsightError(f"{option} {value}: want a cosine from {low} to {high}")
        if self.smallest < 1:
            raise InsightError(f"--smallest {self.smallest}: must be at least 1")

    def judge(self, label: int, rows: np.ndarray) -> Verdict:
        """Judge the images of one identity; see :meth:`Judge.judge`.

        Copies are removed first, so that a repeated picture counts once. Then people are separated, and images far
        from the centre of their person are removed.
        """
        copy_of = copies(rows, self.copy)
        single = np.flatnonzero(copy_of < 0)
        person, cosine = np.zeros(len(rows), np.int64), np.ones(len(rows), np.float32)
        persons = [single[group] for group in people(rows[single], self.apart, self.smallest)]
        for number, group in enumerate(persons):
            person[group] = number
            own = number if self.on_two != DROP_SMALLER else 0
            cosine[group] = rows[group] @ robust_centre(rows[persons[own]])
        repeats, cosine = with_copies(rows, copy_of, cosine)
        person[repeats] = person[copy_of[repeats]]
        reason = np.full(len(rows), "", object)
        reason[cosine < self.threshold] = FAR
        if self.on_two == DROP_SMALLER:
            reason[person > 0] = SECOND
        reason[repeats] = COPY
        kept = reason == ""
        groups = [np.flatnonzero(kept & (person == number)) for number in range(len(persons))]
        if self.on_two != SPLIT:
            groups = [np.flatnonzero(kept)]
        groups = [group for group in groups if len(group)]
        return Verdict(person, reason.tolist(), cosine, copy_of, groups, len(persons))
