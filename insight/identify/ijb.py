"""IJB-B and IJB-C: templates of several images and videos, compared 1:1 and searched 1:N.

After InsightFace's ``Evaluation/IJB/ijb_11.py``, ``IJB_1N.py`` and ``ijb_evals.py`` @9fc3cc9c, for embeddings of any
length. In their names for settings, F1 is the sum with the mirror image, D1 the weight by the detector's score, N1 an
image's weight by the length of its embedding (:func:`image_features` with ``unit=False``).

Shapes: N images, T templates, E length of an embedding, P pairs.
"""

from __future__ import annotations

import math
import warnings
from array import array
from contextlib import suppress
from itertools import chain
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import InsightError
from ..faces.unit import unit_rows
from ..files.text import BLANK, excerpt, is_number, numbered_lines, open_text, ways, whole
from .search import check_shapes, highest, score

FPRS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
RANKS = (1, 5, 10)
FPIRS = (0.01, 0.1)
PAIRS = 100_000  # that are compared at once


class Templates(NamedTuple):
    """(T,) int64 numbers, rising, and (T, E) float64 features of length 1."""

    numbers: np.ndarray
    features: np.ndarray

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Positions of template numbers.

        Raises
        ------
        InsightError
            One has no image.
        """
        numbers = np.asarray(numbers, np.int64)
        at = np.minimum(np.searchsorted(self.numbers, numbers), len(self.numbers) - 1)
        wrong = numbers[self.numbers[at] != numbers]
        if len(wrong):
            raise InsightError(f"template {wrong[0]}: has no image; the list of templates is of another set")
        return at


class Identified(NamedTuple):
    """1:N: rank to share, and FPIR to TPIR, of the probes whose subject is in the gallery."""

    ranks: Dict[int, float]
    tpir: Dict[float, float]


def read_media(path) -> Tuple[np.ndarray, np.ndarray]:
    """(N,) templates and (N,) media of ``ijbc_face_tid_mid.txt``: lines ``image template medium``."""
    rows = _columns(path, (1, 2), "image template medium")
    return rows[:, 0], rows[:, 1]


def read_pairs(path) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(P,) templates, (P,) templates, (P,) bool same, of ``ijbc_template_pair_label.txt``: ``template template 1``."""
    want = "template template same"
    rows = _columns(path, (0, 1, 2), want)
    odd = np.flatnonzero((rows[:, 2] != 0) & (rows[:, 2] != 1))
    if len(odd):
        raise InsightError(f"{path}: pair {odd[0] + 1}: want lines {want!r}, same 1 or 0; found {rows[odd[0], 2]}")
    return rows[:, 0], rows[:, 1], rows[:, 2] == 1


def read_subjects(path) -> Tuple[np.ndarray, np.ndarray]:
    """(T,) templates and (T,) subjects of ``ijbc_1N_gallery_G1.csv``: a heading, then ``template,subject,…``."""
    rows = _columns(path, (0, 1), "template,subject")
    return rows[:, 0], rows[:, 1]


def _columns(path, columns: Tuple[int, ...], want: str) -> np.ndarray:
    """(rows, columns) int64 of a table with blanks, tabs or commas between columns, with a heading or without.

    NumPy reads millions of lines as the benchmark's authors wrote them; where it stops, a slower reader takes other
    spellings of integers, and names the line that has none.
    """
    rule = f"want lines {want!r}"
    with open_text(path, rule) as source:
        first = source.readline()
        lines = _ascii(source if _is_heading(first, columns) else chain([first], source))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # NumPy warns where it makes an integer of 1.5
                delimiter = "," if "," in want else None
                return np.loadtxt(lines, np.int64, None, delimiter, usecols=columns, ndmin=2)
        except (ValueError, IndexError, OverflowError, Warning):
            pass
    values = array("q")
    for number, line in numbered_lines(path, rule):
        try:
            values.extend(next(_integers(line, columns)))
        except (StopIteration, OverflowError):
            if values or not _is_heading(line, columns):
                raise InsightError(f"{path}:{number}: {rule}, whole numbers; found {excerpt(line)}") from None
    if not values:
        raise InsightError(f"{path}: empty; {rule}")
    return np.array(values, np.int64).reshape(-1, len(columns))


def _ascii(lines: Iterable[str]) -> Iterator[str]:
    """Lines up to the first that is no ASCII: a letter beyond Latin-1 in a number may end the process in NumPy 1.26."""
    for line in lines:
        if not line.isascii():
            raise ValueError("no ASCII")
        yield line


def _integers(line: str, columns: Tuple[int, ...]) -> Iterator[Tuple[int, ...]]:
    """The numbers in some columns of a line, by each separator that gives integers."""
    for fields in ways(line):
        with suppress(ValueError, IndexError):
            yield tuple(whole(fields[column]) for column in columns)


def _is_heading(line: str, columns: Tuple[int, ...]) -> bool:
    """Whether a first line has words where the numbers should be."""
    for fields in ways(line):
        if len(fields) > max(columns) and not any(is_number(fields[column]) for column in columns):
            return True
    return not line.strip(BLANK)


def image_features(
    plain: np.ndarray,
    mirrored: Optional[np.ndarray] = None,
    detector_scores: Optional[np.ndarray] = None,
    unit: bool = False,
) -> np.ndarray:
    """(N, E) float64: what a template is pooled from.

    Parameters
    ----------
    plain, mirrored : numpy.ndarray
        (N, E) raw embeddings of the images and of their mirror images, which are summed.
    detector_scores : numpy.ndarray, optional
        (N,): multiply.
    unit : bool
        Normalise each sum first, so that its length is no weight.
    """
    features = np.array(plain, np.float64)
    if mirrored is not None:
        features += mirrored
    if unit:
        features = unit_rows(features)
    if detector_scores is not None:
        features *= np.asarray(detector_scores, np.float64)[:, None]
    return features


def pool(features: np.ndarray, templates: np.ndarray, media: np.ndarray) -> Templates:
    """Templates of images: the mean over each medium's images, the sum over the template's media, normalised.

    Parameters
    ----------
    features : numpy.ndarray
        (N, E).
    templates, media : numpy.ndarray
        (N,) int64; frames of one video have one medium.
    """
    templates, media = np.asarray(templates, np.int64), np.asarray(media, np.int64)
    if not len(features) == len(templates) == len(media):
        raise InsightError(
            f"{len(features)} features, {len(templates)} templates and {len(media)} media; want one of each an image"
        )
    order = np.lexsort((media, templates))
    templates, media = templates[order], media[order]
    new_template = np.r_[True, templates[1:] != templates[:-1]]
    new_medium = new_template | np.r_[True, media[1:] != media[:-1]]
    starts = np.flatnonzero(new_medium)
    images = np.diff(np.r_[starts, len(media)])
    means = np.add.reduceat(np.asarray(features, np.float64)[order], starts, axis=0) / images[:, None]
    sums = np.add.reduceat(means, np.flatnonzero(new_template[starts]), axis=0)
    return Templates(templates[new_template], unit_rows(sums))


def compare(templates: Templates, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(P,) float64: cosines of pairs of template numbers."""
    left, right = templates.rows(first), templates.rows(second)
    cosines = np.empty(len(left))
    for start in range(0, len(left), PAIRS):
        some = slice(start, start + PAIRS)
        cosines[some] = np.einsum("ij,ij->i", templates.features[left[some]], templates.features[right[some]])
    return cosines


def tpr_at_fpr(cosines: np.ndarray, same: np.ndarray, fprs: Sequence[float] = FPRS) -> Dict[float, Tuple[float, float]]:
    """FPR to (TPR, the FPR that it was read at), as InsightFace's table has it.

    The point of the ROC whose FPR is nearest is taken, and there the highest TPR. The ROC is scikit-learn's, which
    leaves out points on a straight line between their neighbours: the FPR read at may be larger than the one
    asked for, visibly so where few impostor pairs are.

    Raises
    ------
    InsightError
        All pairs are of one kind.
    """
    fpr, tpr = _roc(np.asarray(cosines), np.asarray(same, bool))
    fpr, tpr = fpr[::-1], tpr[::-1]  # so that of equal ones the first has the highest TPR
    nearest = {asked: int(np.argmin(np.abs(fpr - asked))) for asked in fprs}
    return {asked: (float(tpr[at]), float(fpr[at])) for asked, at in nearest.items()}


def _roc(scores: np.ndarray, same: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """FPR and TPR, rising from (0, 0), at each distinct score that is a corner."""
    if same.all() or not same.any():
        raise InsightError(f"all {len(same)} pairs are of one kind; a ROC needs pairs of both")
    order = np.argsort(-scores, kind="stable")
    ends = np.r_[np.flatnonzero(np.diff(scores[order])), len(scores) - 1]
    hits = np.cumsum(same[order])[ends]
    false = 1 + ends - hits
    if len(ends) > 2:
        corner = np.r_[True, (np.diff(false, 2) != 0) | (np.diff(hits, 2) != 0), True]
        hits, false = hits[corner], false[corner]
    hits, false = np.r_[0, hits], np.r_[0, false]
    return false / false[-1], hits / hits[-1]


def identify(
    galleries: Sequence[Tuple[np.ndarray, np.ndarray]],
    probes: np.ndarray,
    subjects: np.ndarray,
    ranks: Sequence[int] = RANKS,
    fpirs: Sequence[float] = FPIRS,
) -> Identified:
    """Search the probes in each gallery; figures are the mean over galleries.

    Give one gallery, both put together, for what ``IJB_1N.py`` prints, and two for ``ijb_evals.py``.

    Parameters
    ----------
    galleries : sequence of (features, subjects)
        (G, E) and (G,) int64; a subject has one template.
    probes : numpy.ndarray
        (P, E).
    subjects : numpy.ndarray
        (P,) int64.
    ranks, fpirs : sequences
        FPIR is InsightFace's here: with Q probes whose subject is in the gallery, the threshold is the
        ceil(FPIR * Q)-th highest of all cosines of different subjects, so one probe may count several times.
        :mod:`.identification` has the usual definition.

    Raises
    ------
    InsightError
        A gallery has a subject twice, or none of the probes' subjects.
    """
    results = [_identify_in(gallery, ids, probes, np.asarray(subjects), ranks, fpirs) for gallery, ids in galleries]

    def mean(figures: List[dict]) -> dict:
        return {key: float(np.mean([one[key] for one in figures])) for key in figures[0]}

    return Identified(mean([one.ranks for one in results]), mean([one.tpir for one in results]))


def _identify_in(gallery, ids, probes, subjects: np.ndarray, ranks, fpirs) -> Identified:
    ids = np.asarray(ids)
    check_shapes(gallery, probes)
    numbers, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise InsightError(f"gallery: subject {numbers[counts > 1][0]} has {counts.max()} templates; want one each")
    mated = np.isin(subjects, ids)
    if not mated.any():
        raise InsightError("gallery: holds none of the probes' subjects")
    scores = score(gallery, ids, probes, subjects, max(ranks))
    before = (scores.others[mated] >= scores.mate[mated, None]).sum(1)
    places = [math.ceil(fpir * mated.sum()) for fpir in fpirs]
    top = highest(gallery, probes, max(places), ids, subjects)
    tpir = [float((scores.mate[mated] > top[min(place, len(top)) - 1]).mean()) for place in places]
    return Identified({rank: float((before < rank).mean()) for rank in ranks}, dict(zip(fpirs, tpir)))
