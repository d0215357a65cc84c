"""Random genuine and impostor pairs in balanced folds.

As in LFW's protocol (Huang et al., "Labeled Faces in the Wild", 2007), half of the pairs of a fold are genuine (two
images of one person) and half are impostor pairs (images of two people). No person is in two folds, so a threshold
that is chosen on nine folds is tested on unseen people in the tenth.
"""

from __future__ import annotations

from typing import List, NamedTuple, Sequence, Tuple

import numpy as np

from ..errors import InsightError

_RESERVE = 2  # number of pairs drawn per pair of the quota, if there are enough
_LARGEST_PART = 0.2  # maximum share of one person in a fold's genuine pairs, if at least five people have pairs
_SPREAD = 16  # minimum number of possible impostor pairs per drawn pair, if there are enough


class PairPlan(NamedTuple):
    """Drawn pairs by fold, as int64 rows (person, image, person, image).

    ``genuine[f]`` and ``impostor[f]`` have ``quota`` rows each, followed by reserve rows, which replace pairs with
    unusable images.
    """

    genuine: List[np.ndarray]
    impostor: List[np.ndarray]
    quota: int


def plan_pairs(counts: Sequence[int], pairs: int = 6000, folds: int = 10, seed: int = 0) -> PairPlan:
    """Draw verification pairs. The cost depends on the number of requested pairs, not of possible pairs.

    Parameters
    ----------
    counts : sequence of int
        Number of images of each person.
    pairs : int
        Maximum number of pairs. The plan has fewer if one person would otherwise dominate. The number is always a
        multiple of twice the number of folds.
    folds : int
        Maximum number of folds. The plan has fewer if there are too few people or pairs.
    seed : int

    Returns
    -------
    PairPlan
        No pair occurs twice, and no person is in two folds.

    Raises
    ------
    InsightError
        There are fewer than two people, or none of them has two images, or an option is out of range.
    """
    if pairs < 2 or folds < 1:
        raise InsightError(f"--pairs {pairs} --folds {folds}: want 2 pairs and 1 fold at least")
    counts = np.asarray(counts, np.int64)
    people, with_pairs = int(np.count_nonzero(counts > 0)), int(np.count_nonzero(counts > 1))
    if people < 2 or with_pairs < 1:
        raise InsightError(
            f"{people} people with usable images, {with_pairs} of them with two or more: pairs need two people, and "
            f"one with two images; add images"
        )
    folds = min(folds, with_pairs, people // 2, pairs // 2)
    rng = np.random.default_rng(seed)
    groups = _deal(counts, folds, rng)
    quota = pairs // (2 * folds)
    for group in groups:
        quota = min(_genuine_quota(counts[group], quota), _impostor_space(counts[group]))
    drawn = [(_draw_genuine(counts[g], quota, rng), _draw_impostor(counts[g], quota, rng)) for g in groups]
    for group, rows in zip(groups, drawn):
        for kind in rows:
            kind[:, 0::2] = group[kind[:, 0::2]]
    return PairPlan([genuine for genuine, _ in drawn], [impostor for _, impostor in drawn], quota)


def _deal(counts: np.ndarray, folds: int, rng: np.random.Generator) -> List[np.ndarray]:
    """Deal people to the folds by descending number of images, in alternating direction, to balance the folds."""
    order = rng.permutation(np.flatnonzero(counts > 0))
    order = order[np.argsort(-counts[order], kind="stable")]
    turn = np.arange(len(order)) % (2 * folds)
    fold = np.minimum(turn, 2 * folds - 1 - turn)
    return [order[fold == f] for f in range(folds)]


def _space(counts: np.ndarray) -> np.ndarray:
    return counts * (counts - 1) // 2


def _genuine_quota(counts: np.ndarray, quota: int) -> int:
    """Return the largest number of pairs, up to ``quota``, in which no person exceeds the maximum share."""
    space = _space(counts)
    part = max(_LARGEST_PART, 1 / np.count_nonzero(space))
    low, high = 1, quota
    while low < high:
        middle = (low + high + 1) // 2
        enough = int(np.minimum(space, int(np.ceil(middle * part))).sum()) >= middle
        low, high = (middle, high) if enough else (low, middle - 1)
    return low


def _impostor_space(counts: np.ndarray) -> int:
    return int((counts.sum() ** 2 - (counts**2).sum()) // 2)


def _draw_genuine(counts: np.ndarray, quota: int, rng: np.random.Generator) -> np.ndarray:
    """Draw one pair of each person in turn, until the quota and its reserve are full."""
    space = _space(counts)
    wanted = min(_RESERVE * quota, int(space.sum()))
    rows, turns = [], []
    for person in np.flatnonzero(space).tolist():
        take = min(int(space[person]), wanted)
        first, second = _unrank(rng.choice(int(space[person]), take, replace=False))
        people = np.full_like(first, person)
        rows.append(np.stack([people, first, people, second], axis=1))
        turns.append(np.arange(take))
    pairs, turn = np.concatenate(rows), np.concatenate(turns)
    pairs = pairs[np.lexsort((rng.random(len(turn)), turn))][:wanted]
    pairs[:quota] = rng.permutation(pairs[:quota])
    return pairs


def _unrank(rank: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Return the pairs a < b whose ranks are b (b - 1) / 2 + a."""
    b = ((1 + np.sqrt(1 + 8 * rank.astype(np.float64))) // 2).astype(np.int64)
    b -= b * (b - 1) // 2 > rank  # rounding may make the root wrong by one
    b += (b + 1) * b // 2 <= rank
    return rank - b * (b - 1) // 2, b


def _draw_impostor(counts: np.ndarray, quota: int, rng: np.random.Generator) -> np.ndarray:
    """Draw pairs of images of different people, without repetition.

    At most ``cap`` images of each person are used, so that people with many images do not dominate. The cap is the
    smallest power of two that leaves ``_SPREAD`` possible pairs per drawn pair, if there are enough.
    """
    quota = min(_RESERVE * quota, _impostor_space(counts))
    cap = 1
    while _impostor_space(np.minimum(counts, cap)) < _SPREAD * quota and cap < counts.max():
        cap *= 2
    used = np.minimum(counts, cap)
    ends = np.cumsum(used)
    later = ends[-1] - ends  # number of images of all following people
    pair_ends = np.cumsum(used * later)
    drawn = rng.choice(int(pair_ends[-1]), quota, replace=False)
    a = np.searchsorted(pair_ends, drawn, side="right")
    drawn = drawn - (pair_ends[a] - used[a] * later[a])
    image_a, other = drawn // later[a], drawn % later[a] + ends[a]
    b = np.searchsorted(ends, other, side="right")
    image_b = other - (ends[b] - used[b])
    shuffles = [rng.permutation(int(count))[:cap] for count in counts]
    image_a = np.array([shuffles[p][i] for p, i in zip(a.tolist(), image_a.tolist())], np.int64)
    image_b = np.array([shuffles[p][i] for p, i in zip(b.tolist(), image_b.tolist())], np.int64)
    return np.stack([a, image_a, b, image_b], axis=1)
