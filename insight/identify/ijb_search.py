"""IJB 1:N: templates of probes are searched in galleries of one template per subject.

InsightFace's scripts have two definitions (``recognition/_evaluation_/ijb`` @7fadd420). ``ijb_1n.py`` joins the two
galleries of the protocol and counts false positives over all comparisons: :func:`identify`. ``ijb_evals.py`` searches
in each gallery by itself, counts false positives over the probes whose subject is not in it, and averages:
:func:`identify_each`. :mod:`.identification` is as the second, with the threshold of ISO/IEC 19795-1.

Shapes: G templates of a gallery, P of probes, E length of an embedding.
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
    """1:N: rank to share, and FPIR to TPIR, of the probes whose subject is in the gallery.

    TPIR is None if there is no probe to measure the FPIR with.
    """

    ranks: Dict[int, float]
    tpir: Dict[float, Optional[float]]


def check_subjects(subjects: np.ndarray, probe_subjects: np.ndarray, gallery: str = "gallery") -> None:
    """Raise InsightError if a gallery has a subject twice, or none of the probes' subjects."""
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
    """Search the probes in one gallery, as ``ijb_1n.py`` in the two galleries joined.

    Parameters
    ----------
    gallery, ids : numpy.ndarray
        (G, E) and (G,) int64; one template per subject.
    probes, subjects : numpy.ndarray
        (P, E) and (P,) int64.
    ranks, fpirs : sequences
        With Q probes whose subject is in the gallery, the threshold of an FPIR is the ceil(FPIR * Q)-th highest of all
        cosines of different subjects, so one probe may count several times.

    Raises
    ------
    InsightError
        The gallery has a subject twice, or none of the probes' subjects.
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
    """Search the probes in each gallery by itself, as ``ijb_evals.py``.

    Parameters
    ----------
    galleries : sequence of (features, subjects)
        (G, E) and (G,) int64; one template per subject.
    probes, subjects : numpy.ndarray
        (P, E) and (P,) int64.
    ranks, fpirs : sequences
        With U probes whose subject is not in the gallery, the threshold of an FPIR is the floor(FPIR * U)-th highest of
        the probes' highest cosines, and the highest of them if that is the 0th. A probe is identified if its own
        subject is first and exceeds the threshold.

    Returns
    -------
    (list of Identified, Identified)
        Of each gallery; and of all: ranks as shares of all P probes, the mean of the galleries' TPIR.

    Raises
    ------
    InsightError
        A gallery has a subject twice, or none of the probes' subjects.
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
