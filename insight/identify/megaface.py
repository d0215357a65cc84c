"""MegaFace: identification and verification with up to a million distractors.

Protocol (Kemelmacher-Shlizerman and others, "The MegaFace Benchmark", CVPR 2016): for each ordered pair of images of
one identity, the first is searched for in a gallery that consists of the second, its only mate, and all distractors.
Features and noise lists follow InsightFace (``Evaluation/Megaface/gen_megaface.py`` and ``remove_noises.py``
@9fc3cc9c), for any embedding size.

Shapes: P probes, D distractors, E embedding size.
"""

from __future__ import annotations

import re
from typing import Dict, NamedTuple, Optional, Sequence, Set

import numpy as np

from ..errors import InsightError
from ..faces.unit import directions, unit_rows
from ..files.text import BLANK, numbered_lines
from .identification import threshold_at
from .search import STRANGER, highest, score

RANKS = (1, 10)
FARS = (1e-6, 1e-5)
NOISE = 1e-3  # largest magnitude of the noise added to each component of a replaced probe
_NUMBERED = re.compile(r"^[0-9]+[ \t,;]+(?=\S)")
FAR_AWAY = 100.0  # additional component of a noisy distractor; it is 0 for other images


class MegaFace(NamedTuple):
    """Results of MegaFace."""

    ranks: Dict[int, float]  # identification: rank to the fraction of searches whose mate has at most this rank
    tar: Dict[float, Optional[float]]  # verification: FAR to TAR, None if there are too few impostor pairs
    searches: int  # number of ordered pairs of images of one identity
    impostor_pairs: int  # number of pairs of a probe and a distractor


def fuse(passes: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Fuse the embeddings of one or several models.

    Parameters
    ----------
    passes : sequence of sequences of numpy.ndarray
        For each model the raw embeddings (N, E) of the images and of the mirror images (or of the images alone).
        They are summed and normalised per model, then concatenated.

    Returns
    -------
    numpy.ndarray
        (N, sum of E) float32 of unit length.
    """
    parts = [unit_rows(np.sum([np.asarray(rows, np.float64) for rows in model], axis=0)) for model in passes]
    return unit_rows(np.concatenate(parts, axis=1)).astype(np.float32)


def read_noise_list(path) -> Set[str]:
    """Read the names of noisy images, one per line.

    A line may start with a number, which is ignored, and a separator: blanks, tabs, commas or semicolons. Lines that
    start with # are comments. The list of FaceScrub has file names (``Adam_Sandler_2.png``), the list of MegaFace has
    paths of three parts (``100/100@N0/1.jpg``). A name with backslashes is also added with slashes.

    Raises
    ------
    InsightError
        The file is missing or contains no names.
    """
    want = "want a list of noisy images, one per line"
    lines = [line.strip(BLANK) for _, line in numbered_lines(path, want)]
    names = {_NUMBERED.sub("", line).strip('"') for line in lines if line and not line.startswith("#")}
    if not names:
        raise InsightError(f"{path}: names no image; {want}, or no list if no image is noisy")
    return names | {name.replace("\\", "/") for name in names}


def noisy(keys: Sequence[str], names: Set[str]) -> np.ndarray:
    """(N,) bool: whether the last part, or the last three parts, of the path of each image are in ``names``."""
    parts = [str(key).split("/") for key in keys]
    return np.array([part[-1] in names or "/".join(part[-3:]) in names for part in parts], bool)


def clean_probes(features: np.ndarray, identities: np.ndarray, noisy_P: np.ndarray, seed: int = 0) -> np.ndarray:
    """Replace the features of noisy probes, as InsightFace does: (P, E) float32.

    The replacement is the sum of the clean features of the identity, plus uniform noise of up to ±0.001 per component,
    normalised. The noise of a row is a function of the seed and the position of the row.

    Raises
    ------
    InsightError
        An identity has no clean image.
    """
    cleaned = np.array(features, np.float32)
    identities, noisy_P = np.asarray(identities), np.asarray(noisy_P, bool)
    for row in np.flatnonzero(noisy_P).tolist():
        clean = features[(identities == identities[row]) & ~noisy_P]
        if not len(clean):
            raise InsightError(f"probe {row} (from 0): all images of its identity {identities[row]} are noisy")
        noise = np.random.default_rng((seed, row)).uniform(-NOISE, NOISE, features.shape[1])
        cleaned[row] = unit_rows((clean.sum(0, dtype=np.float64) + noise)[None])[0]
    return cleaned


def devkit_features(features: np.ndarray, noisy_N: Optional[np.ndarray] = None) -> np.ndarray:
    """Append a component for MegaFace's own programs: 0, or 100 for noisy features, to move them far away.

    Returns (N, E + 1) float32.
    """
    extra = np.zeros((len(features), 1), np.float32)
    if noisy_N is not None:
        extra[np.asarray(noisy_N, bool)] = FAR_AWAY
    return np.concatenate([np.asarray(features, np.float32), extra], axis=1)


def evaluate(
    probes: np.ndarray,
    identities: np.ndarray,
    distractors: np.ndarray,
    noisy_D: Optional[np.ndarray] = None,
    ranks: Sequence[int] = RANKS,
    fars: Sequence[float] = FARS,
    what: str = "",
) -> MegaFace:
    """Measure identification and verification of the probes against the distractors.

    Parameters
    ----------
    probes, distractors : numpy.ndarray
        (P, E) and (D, E) features, not necessarily normalised. Noisy probes must have been replaced by
        :func:`clean_probes`.
    identities : numpy.ndarray
        (P,) int64 identities of the probes, from 0.
    noisy_D : numpy.ndarray, optional
        (D,) bool: distractors to leave out.
    ranks : sequence of int
        Ranks to measure. A distractor with the same score as the mate ranks before it.
    fars : sequence of float
        FARs over all pairs of a probe and a distractor. TAR is measured over all pairs of two images of one identity.
    what : str
        Title of the progress bar; empty shows none.

    Raises
    ------
    InsightError
        No identity has two images, no distractor is left, or an embedding is zero or not finite.
    """
    if noisy_D is not None:
        distractors = distractors[~np.asarray(noisy_D, bool)]
    identities = np.asarray(identities, np.int64)
    unit = directions(probes, "probes: embedding")
    pairs = [(group, unit[group] @ unit[group].T) for group in _groups(identities) if len(group) > 1]
    if not pairs:
        raise InsightError("probes: no identity has two images, so there is no mate to search for")
    strangers = np.full(len(distractors), STRANGER)
    others = score(distractors, strangers, unit, np.full(len(unit), STRANGER), max(ranks), what).others
    hits = np.zeros(len(ranks), np.int64)
    searches, true_scores = 0, []
    for group, cosines in pairs:
        distinct = ~np.eye(len(group), dtype=bool)
        before = (others[group][:, None, :] >= cosines[:, :, None]).sum(2)[distinct]  # [search, mate, distractor]
        hits += [(before < rank).sum() for rank in ranks]
        searches += len(before)
        true_scores.append(cosines[np.triu(distinct)])
    impostors = len(unit) * len(distractors)
    return MegaFace(
        {rank: float(count / searches) for rank, count in zip(ranks, hits)},
        _tar(np.concatenate(true_scores), unit, distractors, fars, what),
        searches,
        impostors,
    )


def _groups(identities: np.ndarray) -> list:
    order = np.argsort(identities, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(identities[order])) + 1)


def _tar(true_scores: np.ndarray, unit: np.ndarray, distractors: np.ndarray, fars: Sequence[float], what: str) -> dict:
    """FAR to TAR, at the lowest threshold that at most the fraction FAR of the impostor pairs exceeds."""
    pairs = len(unit) * len(distractors)
    allowed = [int(far * pairs * (1 + 1e-12)) for far in fars]
    top = highest(distractors, unit, min(max(allowed, default=0) + 1, pairs), what=what)
    share = {}
    for far, count in zip(fars, allowed):
        share[far] = float((true_scores > threshold_at(top, count)).mean()) if count else None
    return share
