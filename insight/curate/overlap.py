"""Which identities of several sets are one person, and what becomes of each.

The first set is kept whole; an identity of a later set that reaches ``param1`` against an identity
kept from the sets before it is dropped, or pooled with it; then whoever reaches ``param2`` against
what is excluded goes. Source: InsightFace ``src/data/dataset_merge.py`` @9fc3cc9c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, NamedTuple, Optional, Sequence

import numpy as np

from ..errors import InsightError
from .centres import match_earlier, nearest

DROP, POOL = "drop", "pool"


class Rules(NamedTuple):
    """What decides.

    Attributes
    ----------
    param1 : float
        Cosine from which on two identities are one person; 0 compares none.
    param2 : float
        Cosine from which on an identity is an excluded one.
    on_overlap : str
        ``drop`` the later identity, or ``pool`` its images with those of the earlier.
    within : bool
        Whether identities of one set are compared with each other too.
    """

    param1: float = 0.3
    param2: float = 0.4
    on_overlap: str = DROP
    within: bool = False

    def check(self) -> None:
        for name, low in (("param1", 0), ("param2", -1)):
            value = getattr(self, name)
            if not low <= value <= 1:
                raise InsightError(f"--{name} {value}: a cosine from {low} to 1 is wanted")
        if self.within and not self.param1:
            raise InsightError("--within: compares by --param1, which is 0 (compare nothing); give both or neither")


@dataclass
class Decisions:
    """What becomes of each of the K identities of all sets, one set after the other.

    Attributes
    ----------
    root : numpy.ndarray
        (K,) int64: the identity whose person this is; its own number unless it was pooled.
    stands : numpy.ndarray
        (K,) bool: not dropped for an earlier identity.
    excluded : numpy.ndarray
        (K,) bool: stands, and goes for an excluded one.
    new_label : numpy.ndarray
        (K,) int64: in the merged set; -1 for whoever is not in it.
    nearest, cosine : numpy.ndarray
        (K,): the earlier identity that is most similar, -1 where none was compared, and its cosine.
    excluder, excluder_cosine : numpy.ndarray
        (K,): likewise, the row of what is excluded.
    """

    root: np.ndarray
    stands: np.ndarray
    excluded: np.ndarray
    new_label: np.ndarray
    nearest: np.ndarray
    cosine: np.ndarray
    excluder: np.ndarray
    excluder_cosine: np.ndarray

    def names(self) -> List[str]:
        """keep, drop, pool or exclude, for each identity."""
        own = self.root == np.arange(len(self.root))
        chosen = np.select([~self.stands, self.excluded, ~own], [DROP, "exclude", POOL], "keep")
        return chosen.tolist()


def decide(
    counts: Sequence[int], every: Optional[np.ndarray], rules: Rules, excluded: Optional[np.ndarray] = None
) -> Decisions:
    """Who is kept, dropped, pooled, excluded.

    Parameters
    ----------
    counts : sequence of int
        Identities of each set.
    every : numpy.ndarray, optional
        (K, E) float32: their centres; missing where nothing is compared.
    rules : Rules
    excluded : numpy.ndarray, optional
        (X, E) float32: directions of what is excluded.

    A pooled identity is compared with as it is, not with the centre of its pool, and with its
    pool goes whoever was pooled: one excluded face in it is reason enough.
    """
    total = sum(counts)
    root, stands = np.arange(total), np.ones(total, bool)
    found, cosine = np.full(total, -1, np.int64), np.full(total, -np.inf, np.float32)
    begin = 0
    for number, count in enumerate(counts):
        here = slice(begin, begin + count)
        if every is not None and rules.param1 and (number or rules.within):
            pool = rules.on_overlap == POOL
            found[here], cosine[here] = match_earlier(
                every, here.start, here.stop, stands, rules.param1, rules.within, pool
            )
            for one in begin + np.flatnonzero(cosine[here] >= rules.param1) if pool else ():
                root[one] = root[found[one]]  # which is earlier, and so settled
        begin += count
    excluder, excluder_cosine = np.full(total, -1, np.int64), np.full(total, -np.inf, np.float32)
    if every is not None and excluded is not None:
        excluder, excluder_cosine = nearest(every, excluded, what="excluding")
    gone = np.zeros(total, bool)
    gone[root[stands & (excluder_cosine >= rules.param2)]] = True
    out = stands & gone[root]
    firsts = stands & ~out & (root == np.arange(total))
    new_label = np.where(stands & ~out, (np.cumsum(firsts) - 1)[root], -1)
    return Decisions(root, stands, out, new_label, found, cosine, excluder, excluder_cosine)
