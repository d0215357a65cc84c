"""IJB 1:N identification: search for the templates of probes in galleries that have one template per subject.

InsightFace's scripts (``recognition/_evaluation_/ijb`` @7fadd420) use two definitions. :func:`identify` follows
``ijb_1n.py``, which joins the two galleries of the protocol and counts false positives over all comparisons.
:func:`identify_each` follows ``ijb_evals.py``, which searches each gallery separately, counts false positives over the
probes whose subject is not in it, and averages the results. :mod:`.identification` is similar to the second, but takes
its threshold from ISO/IEC 19795-1.

Shapes: G templates in a gallery, P probe templates, E embedding size.
"""

from __future__ import annotations

import math
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import InsightError
from .search import check_shapes, highest, score

RANKS = (1, 5, 10)
FPIRS = (0.01, 0.1)
Gallery = Tuple[np.ndarray, np.ndarray]  # (G, E) features and (G,) subjects


class Identified(NamedTuple):
    """Results of 1:N: rank to the fraction of probes with at most this rank, and FPIR to TPIR.

    Both refer to the probes whose subject is in the gallery. TPIR is None if there is no score to set the threshold.
    """

    ranks: Dict[int, float]
    tpir: Dict[float, Optional[float]]


def check_subjects(subjects: np.ndarray, probe_subjects: np.ndarray, gallery: str = "gallery") -> None:
    """Raise InsightError if a subject has two templates in a gallery, or if no subject of the probes is in it."""
    numbers, counts = np.unique(subjects, return_counts=True)
    if (counts > 1).any():
        raise InsightError(f"{gallery}: subject {numbers[counts > 1][0]} has {counts.max()} templates; want one each")
    if not np.isin(probe_subjects, subjects).any():
        raise InsightError(f"{gallery}: has none of the probes' subjects; want a gallery and probes of one protocol")


def identify(
    gallery: np.ndarray,
    ids: np.ndarray,
    probes: np.ndarray,
    subjects: np.ndarray,
    ranks: Sequence[int] = RANKS,
    fpirs: Sequence[float] = FPIRS,
) -> Identified:
    """Search for the probes in one gallery, as ``ijb_1n.py`` does in the two galleries joined.

    Parameters
    ----------
    gallery, ids : numpy.ndarray
        (G, E) features and (G,) int64 subjects, one template per subject.
    probes, subjects : numpy.ndarray
        (P, E) features and (P,) int64 subjects.
    ranks, fpirs : sequences
        If Q probes have their subject in the gallery, the threshold of an FPIR is the ceil(FPIR * Q)-th highest cosine
        of all pairs of different subjects, so that one probe may count several times. TPIR is the fraction of these Q
        probes whose cosine with their own subject exceeds the threshold, at any rank.

    Raises
    ------
    InsightError
        A subject has two templates in the gallery, or no subject of the probes is in it.
    """
    ids, subjects = np.asarray(ids), np.asarray(subjects)
    check_shapes(gallery, probes)
    check_subjects(ids, subjects)
    mated = np.isin(subjects, ids)
    scores = score(gallery, ids, probes, subjects, max(ranks))
    before = (scores.others[mated] >= scores.mate[mated, None]).sum(1)
    places = [math.ceil(fpir * mated.sum()) for fpir in fpirs]
    top = highest(gallery, probes, max(places), ids, subjects)
    thresholds = [top[min(place, len(top)) - 1] if len(top) else None for place in places]
    tpir = [None if limit is None else float((scores.mate[mated] > limit).mean()) for limit in thresholds]
    return Identified({rank: float((before < rank).mean()) for rank in ranks}, dict(zip(fpirs, tpir)))


def identify_each(
    galleries: Sequence[Gallery],
    probes: np.ndarray,
    subjects: np.ndarray,
    ranks: Sequence[int] = RANKS,
    fpirs: Sequence[float] = FPIRS,
) -> Tuple[List[Identified], Identified]:
    """Search for the probes in each gallery separately, as ``ijb_evals.py`` does.

    Parameters
    ----------
    galleries : sequence of (features, subjects)
        (G, E) features and (G,) int64 subjects, one template per subject.
    probes, subjects : numpy.ndarray
        (P, E) features and (P,) int64 subjects.
    ranks, fpirs : sequences
        If the subjects of U probes are not in the gallery, the threshold of an FPIR is the floor(FPIR * U)-th highest
        value among the highest cosines of these probes, or the highest value if FPIR * U is below 1. TPIR is the
        fraction of the other probes that have rank 1 and whose cosine exceeds the threshold.

    Returns
    -------
    each : list of Identified
        Results in each gallery.
    both : Identified
        Ranks as fractions of all P probes, and the mean of the TPIRs of the galleries, None if one of them is None.

    Raises
    ------
    InsightError
        A subject has two templates in a gallery, or no subject of the probes is in it.
    """
    subjects = np.asarray(subjects)
    figures, hits = [], np.zeros(len(ranks), np.int64)
    for gallery, ids in galleries:
        check_shapes(gallery, probes)
        check_subjects(ids, subjects)
        scores = score(gallery, ids, probes, subjects, max(ranks))
        mated = np.isin(subjects, ids)
        before = (scores.others[mated] >= scores.mate[mated, None]).sum(1)
        counts = [int((before < rank).sum()) for rank in ranks]
        top = -np.sort(-scores.others[~mated, 0])
        limits = [top[max(int(len(top) * fpir) - 1, 0)] if len(top) else None for fpir in fpirs]
        tpir = [
            None if limit is None else float(((before < 1) & (scores.mate[mated] > limit)).mean()) for limit in limits
        ]
        figures.append(
            Identified({rank: count / int(mated.sum()) for rank, count in zip(ranks, counts)}, dict(zip(fpirs, tpir)))
        )
        hits += counts
    return figures, Identified(
        {rank: float(count / len(subjects)) for rank, count in zip(ranks, hits)},
        {fpir: _mean([one.tpir[fpir] for one in figures]) for fpir in fpirs},
    )


def _mean(values: Sequence[Optional[float]]) -> Optional[float]:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
