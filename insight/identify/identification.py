"""Identification, 1:N: who of a gallery is it, and is it anyone of them.

Definitions are those of ISO/IEC 19795-1 and NIST's FRVT 1:N. A probe is mated where the gallery holds its
identity. Its rank is one more than the number of other identities that score at least as high as its own: a
tie counts against it, so a network that maps all faces to one point has rank 1 for none. The score of an
identity is the cosine of its most similar face.
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
        That is asked for: the share of probes outside the gallery that are taken for someone in it.
    threshold : float or None
        Cosine that a candidate must exceed; None where there are too few probes outside the gallery to tell.
    false_positives : int or None
        Of these probes, how many do.
    tpir : float or None
        Share of mated probes whose own identity comes first and exceeds it.
    """

    fpir: float
    threshold: Optional[float]
    false_positives: Optional[int]
    tpir: Optional[float]


class Identification(NamedTuple):
    """Closed set: rank to share of the mated probes; open set: a row a rate."""

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
    """Search every probe in the gallery, exactly.

    Parameters
    ----------
    gallery, probes : numpy.ndarray
        (G, E) and (P, E) embeddings, of any length.
    gallery_ids, probe_ids : numpy.ndarray
        (G,) and (P,) int64: who it is. -1 in the gallery is a distractor, each one of its own; among the probes
        someone who is not in the gallery.
    ranks : sequence of int
    fpirs : sequence of float
        Between 0 and 1.
    what : str
        What to call the work where progress is shown.

    Raises
    ------
    InsightError
        Lengths differ, an embedding is zero or not finite, no probe is mated, or an option is out of range.
    """
    check_options(ranks, fpirs)
    gallery_ids, probe_ids = np.asarray(gallery_ids, np.int64), np.asarray(probe_ids, np.int64)
    for name, ids, rows in (("gallery", gallery_ids, gallery), ("probes", probe_ids, probes)):
        if len(ids) != len(rows):
            raise InsightError(f"{name}: {len(rows)} embeddings and {len(ids)} identities; want one for each")
        if (ids < STRANGER).any():
            raise InsightError(f"{name}: identity {ids.min()}; want numbers from 0, or {STRANGER} where it is unknown")
    search.check_shapes(gallery, probes)
    mated = (probe_ids != STRANGER) & np.isin(probe_ids, gallery_ids)
    if not mated.any():
        raise InsightError(
            "probes: none of them is of an identity that the gallery holds, so no rank can be measured; "
            "identities are matched by folder name, or by label where there are no folders"
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
    """Raise InsightError where a rank is below 1 or a rate is not between 0 and 1."""
    if not ranks or min(ranks) < 1:
        raise InsightError(f"--ranks {','.join(map(str, ranks))}: want whole numbers from 1")
    for fpir in fpirs:
        if not 0 < fpir < 1:
            raise InsightError(f"--fpir {fpir}: a rate between 0 and 1 is wanted")


def threshold_at(impostors: np.ndarray, allowed: int) -> float:
    """The lowest threshold that at most so many of the scores exceed, -inf where all may."""
    if allowed >= len(impostors):
        return -math.inf
    return float(np.partition(impostors, len(impostors) - 1 - allowed)[len(impostors) - 1 - allowed])


def _open_set(fpir: float, mate_M: np.ndarray, rank_M: np.ndarray, top_U: np.ndarray) -> OpenSet:
    allowed = int(fpir * len(top_U) * (1 + 1e-12))  # 0.1 of 30 is 3, whatever binary fractions say
    if allowed < 1:
        return OpenSet(fpir, None, None, None)
    threshold = threshold_at(top_U, allowed)
    tpir = float(((rank_M == 1) & (mate_M > threshold)).mean())
    return OpenSet(fpir, threshold, int((top_U > threshold).sum()), tpir)


def match_identities(gallery: Embedded, probes: Embedded) -> Tuple[np.ndarray, np.ndarray]:
    """(G,) and (P,) int64 identities of two sets that were embedded apart.

    Where the keys are paths, the folder is the identity, however its accents are encoded (macOS writes them as
    letters of their own); otherwise the label is, -1 being unknown.

    Raises
    ------
    InsightError
        One set has folders and the other has none.
    """
    named = [bool(len(one.keys)) and all("/" in key for key in one.keys.tolist()) for one in (gallery, probes)]
    if named[0] != named[1]:
        kinds = ["folders" if has else "labels only" for has in named]
        raise InsightError(
            f"gallery and probes: identities are {kinds[0]} in one and {kinds[1]} in the other, which cannot be "
            "matched; give two folder trees, or two .rec sets with the same labels"
        )
    if not named[0]:
        return np.asarray(gallery.labels, np.int64), np.asarray(probes.labels, np.int64)
    numbers: Dict[str, int] = {}

    def number(one: Embedded) -> np.ndarray:
        people = (unicodedata.normalize("NFC", key.rpartition("/")[0]) for key in one.keys.tolist())
        return np.array([numbers.setdefault(person, len(numbers)) for person in people])

    return number(gallery), number(probes)


def differences(
    gallery: Tuple[str, Optional[Mapping[str, Any]]], probes: Tuple[str, Optional[Mapping[str, Any]]]
) -> List[str]:
    """What should be alike in the making of two sets of embeddings and is not, for people.

    Parameters
    ----------
    gallery, probes : (str, mapping or None)
        The path, and what is known of the making (:func:`insight.faces.parts.about`).
    """
    (path, made), (other_path, other) = gallery, probes
    if not made or not other:
        return []
    notes = []
    if made.get("model_sha256") != other.get("model_sha256"):
        files, others = (", ".join(map(str, list(one.get("model") or ["an unknown model"]))) for one in (made, other))
        notes.append(
            f"{path} was embedded by {files}, {other_path} by {others}: cosines mean something only if both hold one "
            "network"
        )
    if made.get("flip") != other.get("flip"):
        notes.append(f"{path} was embedded with --flip {made.get('flip')}, {other_path} with {other.get('flip')}")
    return notes


def report(found: Identification, json_path: str = "") -> str:
    """The figures as lines for people; and as JSON in a file where asked."""
    lines = [
        f"gallery: {found.faces} faces of {found.identities} identities; "
        f"probes: {found.mated} of identities in it, {found.unmated} of others"
    ]
    lines += [f"rank-{rank}: {share:.5f}" for rank, share in found.ranks.items()]
    for row in found.open_set:
        if row.threshold is None:
            needed = math.ceil(1 / row.fpir - 1e-9)
            lines.append(
                f"TPIR@FPIR {row.fpir:g}: not measurable, {found.unmated} probes outside the gallery; "
                f"{needed} are the least"
            )
        else:
            lines.append(
                f"TPIR@FPIR {row.fpir:g}: {row.tpir:.5f}, cosine above {row.threshold:.6f}, "
                f"{row.false_positives} of {found.unmated} false positives"
            )
    if json_path:
        figures = found._asdict()
        figures["open_set"] = [row._asdict() for row in found.open_set]
        atomic.write_text(json_path, json.dumps(figures, indent=1) + "\n")
    return "\n".join(lines)
