"""MegaFace: probes of a few identities among a million distractors.

Protocol (Kemelmacher-Shlizerman and others, "The MegaFace Benchmark", CVPR 2016): each image of an identity is
searched with each other image of the identity as the only mate in the gallery, the distractors being the rest.
Features and noise lists are InsightFace's (``Evaluation/Megaface/gen_megaface.py`` and ``remove_noises.py``
@9fc3cc9c), for embeddings of any length.

Shapes: P probes, D distractors, E length of an embedding.
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
NOISE = 1e-3  # a noisy probe is moved by as much, either way, in each number
_NUMBERED = re.compile(r"^[0-9]+[ \t,;]+(?=\S)")
FAR_AWAY = 100.0  # in the extra number of a noisy distractor, where a face has 0


class MegaFace(NamedTuple):
    """Identification: rank to share of the searches. Verification: FAR to TAR, None where too few pairs tell."""

    ranks: Dict[int, float]
    tar: Dict[float, Optional[float]]
    searches: int
    impostor_pairs: int


def fuse(passes: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Features of one or several models: (N, sum of E) float32 of length 1.

    Parameters
    ----------
    passes : sequence of sequences of numpy.ndarray
        For each model the raw embeddings (N, E) of the images and of the mirror images (or of the images alone).
        They are summed and normalised, then the models stand side by side.
    """
    parts = [unit_rows(np.sum([np.asarray(one, np.float64) for one in model], axis=0)) for model in passes]
    return unit_rows(np.concatenate(parts, axis=1)).astype(np.float32)


def read_noise_list(path) -> Set[str]:
    """Names of noisy images, a line each; of lines that begin with a number the name behind it; # begins a remark.

    FaceScrub's list names files (``Adam_Sandler_2.png``), MegaFace's paths of three parts (``100/100@N0/1.jpg``).
    Numbers and names have tabs, commas or blanks between them. A name with backslashes counts with slashes, too.

    Raises
    ------
    InsightError
        The file is missing or names nothing.
    """
    want = "want a list of noisy images, a line each"
    lines = [line.strip(BLANK) for _, line in numbered_lines(path, want)]
    names = {_NUMBERED.sub("", line).strip('"') for line in lines if line and not line.startswith("#")}
    if not names:
        raise InsightError(f"{path}: names no image; {want}, or none where nothing is noisy")
    return names | {name.replace("\\", "/") for name in names}


def noisy(keys: Sequence[str], names: Set[str]) -> np.ndarray:
    """(N,) bool: which images a list names, by the last one or the last three parts of their paths."""
    parts = [str(key).split("/") for key in keys]
    return np.array([part[-1] in names or "/".join(part[-3:]) in names for part in parts], bool)


def clean_probes(features: np.ndarray, identities: np.ndarray, noisy_P: np.ndarray, seed: int = 0) -> np.ndarray:
    """Put the direction of the identity's other images in the place of noisy ones: (P, E) float32.

    It is the normalised sum of the identity's clean features, each number moved by up to ±0.001, as InsightFace
    does it. Each row's noise is a function of the seed and its position.

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
            raise InsightError(f"probe {row} (from 0): every image of its identity {identities[row]} is noisy")
        moved = np.random.default_rng((seed, row)).uniform(-NOISE, NOISE, features.shape[1])
        cleaned[row] = unit_rows((clean.sum(0, dtype=np.float64) + moved)[None])[0]
    return cleaned


def devkit_features(features: np.ndarray, noisy_N: Optional[np.ndarray] = None) -> np.ndarray:
    """(N, E + 1) float32 for MegaFace's own programs: 0 is appended, 100 where it is noisy, to be far off."""
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
    """Identification among the distractors and verification against them.

    Parameters
    ----------
    probes, distractors : numpy.ndarray
        (P, E) and (D, E), of any length; noisy probes have been replaced by :func:`clean_probes`.
    identities : numpy.ndarray
        (P,) int64 from 0.
    noisy_D : numpy.ndarray, optional
        (D,) bool: distractors that are left out.
    ranks : sequence of int
        A distractor that scores as high as the mate stands before it.
    fars : sequence of float
        Over all pairs of a probe and a distractor; the true pairs are those of two images of one identity.
    what : str
        What to call the work where progress is shown.

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
        raise InsightError("probes: no identity has two images, so there is nothing to find")
    strangers = np.full(len(distractors), STRANGER)
    others = score(distractors, strangers, unit, np.full(len(unit), STRANGER), max(ranks), what).others
    found = np.zeros(len(ranks), np.int64)
    searches, true_scores = 0, []
    for group, cosines in pairs:
        apart = ~np.eye(len(group), dtype=bool)
        before = (others[group][:, None, :] >= cosines[:, :, None]).sum(2)[apart]  # [search, mate, distractor]
        found += [(before < rank).sum() for rank in ranks]
        searches += len(before)
        true_scores.append(cosines[np.triu(apart)])
    impostors = len(unit) * len(distractors)
    return MegaFace(
        {rank: float(count / searches) for rank, count in zip(ranks, found)},
        _tar(np.concatenate(true_scores), unit, distractors, fars, what),
        searches,
        impostors,
    )


def _groups(identities: np.ndarray) -> list:
    order = np.argsort(identities, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(identities[order])) + 1)


def _tar(true_scores: np.ndarray, unit: np.ndarray, distractors: np.ndarray, fars: Sequence[float], what: str) -> dict:
    """FAR to the share of true pairs above the threshold that at most FAR of all impostor pairs exceed."""
    pairs = len(unit) * len(distractors)
    allowed = [int(far * pairs * (1 + 1e-12)) for far in fars]
    top = highest(distractors, unit, min(max(allowed, default=0) + 1, pairs), what=what)
    share = {}
    for far, count in zip(fars, allowed):
        share[far] = float((true_scores > threshold_at(top, count)).mean()) if count else None
    return share
