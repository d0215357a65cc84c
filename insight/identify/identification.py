"""Identification, 1:N: find the identity of a probe in a gallery, and decide whether it is in the gallery at all.

Definitions are those of ISO/IEC 19795-1 and NIST's FRVT 1:N. A probe is mated if its identity is in the gallery. Its
rank is one more than the number of other identities that score at least as high as its own: a tie counts against it, so
for a network that maps all faces to one point no probe has rank 1. The score of an identity is the cosine of its most
similar face.
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
    """Performance at one false positive identification rate.

    Attributes
    ----------
    fpir : float
        The requested rate: share of unmated probes whose best match exceeds the threshold.
    threshold : float or None
        Cosine that a match must exceed; None if there are too few unmated probes to measure it.
    false_positives : int or None
        Number of unmated probes whose best match exceeds it.
    tpir : float or None
        Share of mated probes whose own identity is first and exceeds it.
    """

    fpir: float
    threshold: Optional[float]
    false_positives: Optional[int]
    tpir: Optional[float]


class Identification(NamedTuple):
    """Closed set: rank to share of the mated probes; open set: a row per rate."""

    ranks: Dict[int, float]
    open_set: Tuple[OpenSet, ...]
    faces: int  # in the gallery
    identities: int  # in the gallery
    mated: int
    unmated: int


def identify(
    gallery: np.ndarray,
    gallery_ids: np.ndarray,
    probes: np.ndarray,
    probe_ids: np.ndarray,
    ranks: Sequence[int] = RANKS,
    fpirs: Sequence[float] = FPIRS,
    what: str = "",
) -> Identification:
    """Search all probes in the gallery, exactly.

    Parameters
    ----------
    gallery, probes : numpy.ndarray
        (G, E) and (P, E) embeddings; rows need not be normalised.
    gallery_ids, probe_ids : numpy.ndarray
        (G,) and (P,) int64 identities. -1 in the gallery is a distractor, each a separate identity; -1 among the probes
        is a person who is not in the gallery.
    ranks : sequence of int
        From 1.
    fpirs : sequence of float
        Between 0 and 1.
    what : str
        Title of the progress bar.

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
    """The lowest threshold that at most ``allowed`` of the scores exceed; -inf if all of them may."""
    if allowed >= len(impostors):
        return -math.inf
    return float(np.partition(impostors, len(impostors) - 1 - allowed)[len(impostors) - 1 - allowed])


def _open_set(fpir: float, mate_M: np.ndarray, rank_M: np.ndarray, top_U: np.ndarray) -> OpenSet:
    allowed = int(fpir * len(top_U) * (1 + 1e-12))  # 0.1 of 30 is 3 in spite of binary rounding
    if allowed < 1:
        return OpenSet(fpir, None, None, None)
    threshold = threshold_at(top_U, allowed)
    tpir = float(((rank_M == 1) & (mate_M > threshold)).mean())
    return OpenSet(fpir, threshold, int((top_U > threshold).sum()), tpir)


def match_identities(gallery: Embedded, probes: Embedded) -> Tuple[np.ndarray, np.ndarray]:
    """(G,) and (P,) int64 identities of two sets that were embedded separately.

    If the keys are paths, the folder is the identity, for any Unicode form of its accents (macOS decomposes them);
    otherwise the label is the identity, with -1 for unknown.

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
    """Notes on differences in the provenance of two sets of embeddings that make them incomparable.

    Parameters
    ----------
    gallery, probes : (str, mapping or None)
        The path, and the provenance if known (:func:`insight.faces.parts.about`).
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
    """The figures as lines of text; also written as JSON to ``json_path`` unless it is empty."""
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
