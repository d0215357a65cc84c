"""Identification (1:N): search for the identity of a probe in a gallery, closed-set and open-set.

Definitions follow ISO/IEC 19795-1 and NIST's FRVT 1:N. A probe is mated if its identity is in the gallery. The score of
an identity is the cosine of its most similar face. The rank of a mated probe is one plus the number of other identities
whose score is at least that of its own identity. Ties therefore count against the probe: with a network that maps all
faces to one point, no probe has rank 1.
"""

from __future__ import annotations

import json
import math
import unicodedata
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import InsightError
from ..faces.embed import Embedded
from ..files import atomic
from . import search
from .search import STRANGER

RANKS = (1, 5)
FPIRS = (0.1, 0.01, 0.001)


class OpenSet(NamedTuple):
    """Open-set performance at one false positive identification rate (FPIR).

    Attributes
    ----------
    fpir : float
        The requested rate: fraction of unmated probes whose highest score exceeds the threshold.
    threshold : float or None
        Cosine that a score must exceed. None, as the next two, if there are too few unmated probes to measure it.
    false_positives : int or None
        Number of unmated probes whose highest score exceeds the threshold.
    tpir : float or None
        Fraction of mated probes that have rank 1 and whose score exceeds the threshold.
    """

    fpir: float
    threshold: Optional[float]
    false_positives: Optional[int]
    tpir: Optional[float]


class Identification(NamedTuple):
    """Results of an identification."""

    ranks: Dict[int, float]  # closed set: rank to the fraction of mated probes that have at most this rank
    open_set: Tuple[OpenSet, ...]  # one for each FPIR
    faces: int  # in the gallery
    identities: int  # in the gallery; each distractor is one
    mated: int  # number of mated probes
    unmated: int  # number of unmated probes


def identify(
    gallery: np.ndarray,
    gallery_ids: np.ndarray,
    probes: np.ndarray,
    probe_ids: np.ndarray,
    ranks: Sequence[int] = RANKS,
    fpirs: Sequence[float] = FPIRS,
    what: str = "",
) -> Identification:
    """Search for all probes in the gallery, exhaustively.

    Parameters
    ----------
    gallery, probes : numpy.ndarray
        (G, E) and (P, E) embeddings, not necessarily normalised.
    gallery_ids, probe_ids : numpy.ndarray
        (G,) and (P,) int64 identities from 0. In the gallery, -1 marks a distractor, and each distractor is a separate
        identity. Among the probes, -1 marks a person who is not in the gallery.
    ranks : sequence of int
        Ranks to measure, 1 or more.
    fpirs : sequence of float
        FPIRs at which TPIR is measured, between 0 and 1.
    what : str
        Title of the progress bar; empty shows none.

    Raises
    ------
    InsightError
        Lengths differ, an embedding is zero or not finite, no probe is mated, or an option is out of range.
    """
    check_options(ranks, fpirs)
    gallery_ids, probe_ids = np.asarray(gallery_ids, np.int64), np.asarray(probe_ids, np.int64)
    for name, ids, rows in (("gallery", gallery_ids, gallery), ("probes", probe_ids, probes)):
        if len(ids) != len(rows):
            raise InsightError(f"{name}: {len(rows)} embeddings and {len(ids)} identities; want one identity for each")
        if (ids < STRANGER).any():
            raise InsightError(f"{name}: identity {ids.min()}; want numbers from 0, or {STRANGER} for an unknown one")
    search.check_shapes(gallery, probes)
    mated = (probe_ids != STRANGER) & np.isin(probe_ids, gallery_ids)
    if not mated.any():
        raise InsightError(
            "probes: none of them has an identity of the gallery, so no rank can be measured; "
            "identities are matched by folder name, or by label if there are no folders"
        )
    scores = search.score(gallery, gallery_ids, probes, probe_ids, min(max(ranks), len(gallery)), what)
    rank_M = 1 + (scores.others[mated] >= scores.mate[mated, None]).sum(1)  # exact up to the largest rank
    strangers = gallery_ids == STRANGER
    return Identification(
        {rank: float((rank_M <= rank).mean()) for rank in ranks},
        tuple(_open_set(fpir, scores.mate[mated], rank_M, scores.others[~mated, 0]) for fpir in fpirs),
        len(gallery),
        len(np.unique(gallery_ids[~strangers])) + int(strangers.sum()),
        int(mated.sum()),
        int((~mated).sum()),
    )


def check_options(ranks: Sequence[int], fpirs: Sequence[float]) -> None:
    """Raise InsightError if a rank is below 1 or a rate is not between 0 and 1."""
    if not ranks or min(ranks) < 1:
        raise InsightError(f"--ranks {','.join(map(str, ranks))}: want whole numbers, 1 or more")
    for fpir in fpirs:
        if not 0 < fpir < 1:
            raise InsightError(f"--fpir {fpir}: want a rate between 0 and 1")


def threshold_at(impostors: np.ndarray, allowed: int) -> float:
    """The lowest threshold that at most ``allowed`` scores exceed; -inf if ``allowed`` is not below their number."""
    if allowed >= len(impostors):
        return -math.inf
    return float(np.partition(impostors, len(impostors) - 1 - allowed)[len(impostors) - 1 - allowed])


def _open_set(fpir: float, mate_M: np.ndarray, rank_M: np.ndarray, top_U: np.ndarray) -> OpenSet:
    allowed = int(fpir * len(top_U) * (1 + 1e-12))  # so that 0.1 of 30 is 3 despite binary rounding
    if allowed < 1:
        return OpenSet(fpir, None, None, None)
    threshold = threshold_at(top_U, allowed)
    tpir = float(((rank_M == 1) & (mate_M > threshold)).mean())
    return OpenSet(fpir, threshold, int((top_U > threshold).sum()), tpir)


def match_identities(gallery: Embedded, probes: Embedded) -> Tuple[np.ndarray, np.ndarray]:
    """Match the identities of two sets that were embedded separately.

    If all keys of both sets are paths with a folder, the folder is the identity, after Unicode normalisation (NFC,
    because macOS decomposes accents). If neither is so, the label is the identity, and -1 is unknown.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray)
        (G,) and (P,) int64 identities of gallery and probes.

    Raises
    ------
    InsightError
        One set has folders and the other has none.
    """
    have_folders = [
        bool(len(data.keys)) and all("/" in key for key in data.keys.tolist()) for data in (gallery, probes)
    ]
    if have_folders[0] != have_folders[1]:
        kinds = ["folders" if has_folders else "labels only" for has_folders in have_folders]
        raise InsightError(
            f"gallery and probes: identities are {kinds[0]} in one and {kinds[1]} in the other, which cannot be "
            "matched; give two folder trees, or two .rec sets with the same labels"
        )
    if not have_folders[0]:
        return np.asarray(gallery.labels, np.int64), np.asarray(probes.labels, np.int64)
    numbers: Dict[str, int] = {}

    def number(embedded: Embedded) -> np.ndarray:
        people = (unicodedata.normalize("NFC", key.rpartition("/")[0]) for key in embedded.keys.tolist())
        return np.array([numbers.setdefault(person, len(numbers)) for person in people])

    return number(gallery), number(probes)


def differences(
    gallery: Tuple[str, Optional[Mapping[str, Any]]], probes: Tuple[str, Optional[Mapping[str, Any]]]
) -> List[str]:
    """Messages about differences between the provenances of two sets of embeddings that make them incomparable.

    Parameters
    ----------
    gallery, probes : (str, mapping or None)
        Path of the embeddings, and their provenance (:func:`insight.faces.parts.about`) or None if it is unknown.
    """
    (path, about), (other_path, other_about) = gallery, probes
    if not about or not other_about:
        return []
    notes = []
    if about.get("model_sha256") != other_about.get("model_sha256"):
        files, others = (
            ", ".join(map(str, list(facts.get("model") or ["an unknown model"]))) for facts in (about, other_about)
        )
        notes.append(
            f"{path} was embedded by {files}, {other_path} by {others}: cosines are meaningful only if both are the "
            "same network"
        )
    if about.get("flip") != other_about.get("flip"):
        notes.append(
            f"{path} was embedded with --flip {about.get('flip')}, {other_path} with {other_about.get('flip')}"
        )
    return notes


def report(result: Identification, json_path: str = "") -> str:
    """Format the results as lines of text, and write them as JSON to ``json_path`` unless it is empty."""
    lines = [
        f"gallery: {result.faces} faces of {result.identities} identities; "
        f"probes: {result.mated} of identities in it, {result.unmated} of others"
    ]
    lines += [f"rank-{rank}: {share:.5f}" for rank, share in result.ranks.items()]
    for row in result.open_set:
        if row.threshold is None:
            needed = math.ceil(1 / row.fpir - 1e-9)
            lines.append(
                f"TPIR@FPIR {row.fpir:g}: not measurable, {result.unmated} probes outside the gallery; "
                f"at least {needed} are needed"
            )
        else:
            lines.append(
                f"TPIR@FPIR {row.fpir:g}: {row.tpir:.5f}, cosine above {row.threshold:.6f}, "
                f"{row.false_positives} of {result.unmated} false positives"
            )
    if json_path:
        figures = result._asdict()
        figures["open_set"] = [row._asdict() for row in result.open_set]
        atomic.write_text(json_path, json.dumps(figures, indent=1) + "\n")
    return "\n".join(lines)
