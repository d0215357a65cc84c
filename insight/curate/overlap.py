"""Decisions on identities of several sets that are the same person.

The first set is kept completely. An identity of a later set whose cosine to an identity kept from earlier sets is at
least ``param1`` is dropped, or pooled with it. Then identities whose cosine to an excluded direction is at least
``param2`` are removed. Source: InsightFace ``src/data/dataset_merge.py`` @9fc3cc9c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, NamedTuple, Optional, Sequence

import numpy as np

from ..errors import InsightError
from .centres import match_earlier, nearest

DROP, POOL = "drop", "pool"


class Rules(NamedTuple):
    """Thresholds and options of a merge.

    Attributes
    ----------
    param1 : float
        Minimum cosine at which two identities are one person, 0..1; 0 disables the comparison.
    param2 : float
        Minimum cosine at which an identity is an excluded person, -1..1.
    on_overlap : str
        ``drop`` drops the later identity; ``pool`` adds its images to those of the earlier one.
    within : bool
        Whether identities of one set are also compared with each other.
    """

    param1: float = 0.3
    param2: float = 0.4
    on_overlap: str = DROP
    within: bool = False

    def check(self) -> None:
        """Raise InsightError if a value is out of range."""
        for name, low in (("param1", 0), ("param2", -1)):
            value = getattr(self, name)
            if not low <= value <= 1:
                raise InsightError(f"--{name} {value}: want a cosine from {low} to 1")
        if self.within and not self.param1:
            raise InsightError("--within: compares by --param1, which is 0 (compare nothing); give both or neither")


@dataclass
class Decisions:
    """The decisions on the K identities of all sets, in the order of the sets.

    Attributes
    ----------
    root : numpy.ndarray
        (K,) int64. The identity with which this one is pooled; its own number if it is not pooled.
    eligible : numpy.ndarray
        (K,) bool. Whether the identity was not dropped because of an earlier one.
    excluded : numpy.ndarray
        (K,) bool. Whether the identity is eligible, but removed because of an excluded direction.
    new_label : numpy.ndarray
        (K,) int64. Label in the merged set; -1 for identities that are not in it.
    nearest, cosine : numpy.ndarray
        (K,) int64 and float32. The most similar earlier identity, -1 if none was compared, and its cosine.
    excluder, excluder_cosine : numpy.ndarray
        (K,) int64 and float32. The most similar excluded direction, -1 if none was compared, and its cosine.
    """

    root: np.ndarray
    eligible: np.ndarray
    excluded: np.ndarray
    new_label: np.ndarray
    nearest: np.ndarray
    cosine: np.ndarray
    excluder: np.ndarray
    excluder_cosine: np.ndarray

    def names(self) -> List[str]:
        """Return ``keep``, ``drop``, ``pool`` or ``exclude`` for each identity."""
        own = self.root == np.arange(len(self.root))
        chosen = np.select([~self.eligible, self.excluded, ~own], [DROP, "exclude", POOL], "keep")
        return chosen.tolist()


def decide(
    counts: Sequence[int], all_centres: Optional[np.ndarray], rules: Rules, excluded: Optional[np.ndarray] = None
) -> Decisions:
    """Decide which identities are kept, dropped, pooled and excluded.

    Parameters
    ----------
    counts : sequence of int
        Number of identities of each set.
    all_centres : numpy.ndarray, optional
        (K, E) float32. Normalised centres of the identities; None if nothing is compared.
    rules : Rules
    excluded : numpy.ndarray, optional
        (X, E) float32. Normalised excluded directions.

    Notes
    -----
    Later identities are compared with the centre of each pooled identity, not with a common centre of its pool. If
    one identity of a pool is excluded, the whole pool is removed.
    """
    total = sum(counts)
    root, eligible = np.arange(total), np.ones(total, bool)
    earlier, cosine = np.full(total, -1, np.int64), np.full(total, -np.inf, np.float32)
    begin = 0
    for number, count in enumerate(counts):
        here = slice(begin, begin + count)
        if all_centres is not None and rules.param1 and (number or rules.within):
            pool = rules.on_overlap == POOL
            earlier[here], cosine[here] = match_earlier(
                all_centres, here.start, here.stop, eligible, rules.param1, rules.within, pool
            )
            for one in begin + np.flatnonzero(cosine[here] >= rules.param1) if pool else ():
                root[one] = root[earlier[one]]  # the root of an earlier identity is already final
        begin += count
    excluder, excluder_cosine = np.full(total, -1, np.int64), np.full(total, -np.inf, np.float32)
    if all_centres is not None and excluded is not None:
        excluder, excluder_cosine = nearest(all_centres, excluded, what="excluding")
    removed_roots = np.zeros(total, bool)
    removed_roots[root[eligible & (excluder_cosine >= rules.param2)]] = True
    removed = eligible & removed_roots[root]
    firsts = eligible & ~removed & (root == np.arange(total))
    new_label = np.where(eligible & ~removed, (np.cumsum(firsts) - 1)[root], -1)
    return Decisions(root, eligible, removed, new_label, earlier, cosine, excluder, excluder_cosine)
