"""The hardest pairs of a verification set: the most similar different pairs and the least similar same pairs."""

from __future__ import annotations

from typing import List, NamedTuple, Tuple

import numpy as np

from .verification import Verification


class HardPair(NamedTuple):
    """A pair: its position in the set, its cosine, and whether the threshold accepts it."""

    pair: int
    cosine: float
    accepted: bool


def hardest_pairs(result: Verification, squared_l2: float, count: int) -> Tuple[List[HardPair], List[HardPair]]:
    """Find the most similar pairs of different people and the least similar pairs of one person.

    Parameters
    ----------
    result : Verification
    squared_l2 : float
        The threshold: pairs with a smaller squared L2 distance are accepted.
    count : int
        Maximum number of pairs of each kind.

    Returns
    -------
    different, same : list of HardPair
        Sorted from the hardest pair, ties by position.
    """

    def hardest(chosen_P: np.ndarray, sign: int) -> List[HardPair]:
        positions = np.flatnonzero(chosen_P)
        order = np.argsort(sign * result.distances[positions], kind="stable")[:count]
        return [_judged(result, int(pair), squared_l2) for pair in positions[order]]

    return hardest(~result.issame, 1), hardest(result.issame, -1)


def _judged(result: Verification, pair: int, squared_l2: float) -> HardPair:
    distance = float(result.distances[pair])
    return HardPair(pair, 1 - distance / 2, distance < squared_l2)
