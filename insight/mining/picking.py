"""Mining of triplets: all positive pairs, and for each pair one or all negatives that satisfy a rule.

Identities are determined by the labels; the images of an identity need not be next to each other. Distances are
computed in float64 and compared in float32, so that equal embeddings have equal distances, however the matrix product
is divided into blocks.

Sources: pairs, their order and the semi-hard rule are those of ``pick_triplets`` in src/triplet_image_iter.py
(deepinsight/insightface@9fc3cc9c), after FaceNet (arXiv:1503.03832, section 3.2). The violating rule is that of
training/train.lua (cmusatyalab/openface@05147522). Hardest and all are batch hard and batch all of arXiv:1703.07737.
"""

from __future__ import annotations

from typing import Callable, Dict, Iterator, NamedTuple, Optional

import numpy as np

from ..options import Option
from .distances import SQUARED, Distance

BLOCK = 1 << 22  # distances per block
ALPHA = Option(
    "triplet_alpha",
    0.3,
    "margin between the distances of a negative and of a positive: squared Euclidean, or angles in radians",
    holds=lambda alpha: 0 <= alpha <= 1,
    rule="must be in 0 <= alpha <= 1",
)
MAX_AP = Option(
    "triplet_max_ap",
    0.0,
    "pass over pairs of one identity that are further apart than this, which are often wrong labels; 0: over none",
    holds=lambda distance: distance >= 0,
    rule="must be 0 or more",
)


class Triplets(NamedTuple):
    """Triplets, as row numbers of a matrix of embeddings.

    Attributes
    ----------
    anchor, positive, negative : np.ndarray
        (T,) int64 each.
    """

    anchor: np.ndarray
    positive: np.ndarray
    negative: np.ndarray

    def __len__(self) -> int:  # type: ignore[override]
        return self.anchor.shape[0]


def positive_pairs(labels: np.ndarray) -> np.ndarray:
    """All unordered pairs of images of the same identity.

    Parameters
    ----------
    labels : np.ndarray
        (N,) integers.

    Returns
    -------
    np.ndarray
        (P, 2) int64 row numbers (anchor, positive), anchor < positive, sorted by first appearance of the identity, then
        by anchor, then by positive.
    """
    _, first, group = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(first[group.reshape(-1)], kind="stable")
    ordered = labels[order]
    edges = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1], True])
    by_size: Dict[int, np.ndarray] = {}
    parts = [np.zeros((0, 2), np.int64)]
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist()):
        if end - begin not in by_size:
            by_size[end - begin] = np.stack(np.triu_indices(end - begin, 1), axis=1)
        parts.append(order[begin + by_size[end - begin]])
    return np.concatenate(parts)


def _semi_hard(d_PN: np.ndarray, ap_P1: np.ndarray, alpha: float) -> np.ndarray:
    return (ap_P1 < d_PN) & (d_PN - ap_P1 < np.float32(alpha))


def _violating(d_PN: np.ndarray, ap_P1: np.ndarray, alpha: float) -> np.ndarray:
    return d_PN - ap_P1 < np.float32(alpha)


CANDIDATES: Dict[str, Optional[Callable]] = {
    "semi-hard": _semi_hard,
    "violating": _violating,
    "hardest": None,
    "all": None,
}


def pick(
    unit: np.ndarray,
    labels: np.ndarray,
    pairs: np.ndarray,
    uniforms: np.ndarray,
    alpha: float,
    max_ap: float = 0.0,
    negatives: str = "semi-hard",
    distance: Distance = SQUARED,
) -> Iterator[Triplets]:
    """Yield the triplets of one block of pairs after the other, in the order of the pairs.

    Parameters
    ----------
    unit : np.ndarray
        (N, E) float64, rows of length 1.
    labels : np.ndarray
        (N,) integers.
    pairs : np.ndarray
        (P, 2) pairs from :func:`positive_pairs`.
    uniforms : np.ndarray
        (P,) random numbers in [0, 1) that choose one of each pair's candidates.
    alpha : float
        Margin, in units of ``distance``.
    max_ap : float
        Largest distance of a pair, in units of ``distance``; pairs that are further apart are skipped. 0: no limit.
    negatives : {"semi-hard", "violating", "hardest", "all"}
        Rule for the negatives of a pair. ``semi-hard``: a random one with d(a, p) < d(a, n) < d(a, p) + alpha.
        ``violating``: a random one with d(a, n) < d(a, p) + alpha. ``hardest``: the nearest one, the first in case of
        ties. ``all``: all images of other identities. Pairs without such a negative are skipped.
    distance : Distance
        d.

    Yields
    ------
    Triplets
    """
    many = max(1, BLOCK // max(1, len(labels)))
    for begin in range(0, len(pairs), many):
        anchor, positive = pairs[begin : begin + many].T
        own, row = np.unique(anchor, return_inverse=True)
        d_PN = distance.of(unit[own] @ unit.T).astype(np.float32)[row.reshape(-1)]
        ap_P = np.take_along_axis(d_PN, positive[:, None], axis=1)[:, 0]
        other_PN = labels[anchor][:, None] != labels
        if max_ap:
            other_PN &= (ap_P <= np.float32(max_ap))[:, None]
        if negatives == "all":
            pair, negative = np.nonzero(other_PN)
        elif negatives == "hardest":
            pair = np.flatnonzero(other_PN.any(axis=1))
            negative = np.where(other_PN[pair], d_PN[pair], np.inf).argmin(axis=1)
        else:
            other_PN &= CANDIDATES[negatives](d_PN, ap_P[:, None], alpha)
            pair, negative = _one_each(other_PN, uniforms[begin : begin + many])
        yield Triplets(anchor[pair], positive[pair], negative)


def _one_each(candidates_PN: np.ndarray, uniforms_P: np.ndarray) -> tuple:
    """(rows with at least one candidate, column of the chosen candidate in each)."""
    row, column = np.nonzero(candidates_PN)
    counts = np.bincount(row, minlength=len(candidates_PN))
    begins = np.cumsum(counts) - counts
    rows = np.flatnonzero(counts)
    taken = (uniforms_P[rows] * counts[rows]).astype(np.int64)
    return rows, column[begins[rows] + taken]


def joined(blocks: Iterator[Triplets]) -> Triplets:
    """Concatenate the triplets of all blocks."""
    empty = Triplets(*(np.zeros(0, np.int64) for _ in Triplets._fields))
    return Triplets(*(np.concatenate(columns) for columns in zip(empty, *blocks)))


def generator(seed: int, number: int) -> np.random.Generator:
    """Random generator for the mining of a step or bag: a function of the seed and its number."""
    return np.random.default_rng([seed, number, PICKING])


PICKING = 4  # last word of the generators' seeds; insight.feed.draws lists those of others
