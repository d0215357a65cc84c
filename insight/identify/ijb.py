"""IJB-B and IJB-C: templates of several images and videos, and their comparison 1:1. :mod:`.ijb_search` has 1:N.

After InsightFace's ``recognition/_evaluation_/ijb/ijb_11.py`` @7fadd420, for any embedding size. In its names for
settings, F1 is the sum with the mirror image, D1 weighting by the detector's score, N1 weighting by the length of the
embedding (:func:`image_features` with ``unit=False``). In ``ijb_evals.py`` there N1 means the opposite.

Shapes: N images, T templates, E length of an embedding, P pairs.
"""

from __future__ import annotations

import warnings
from array import array
from contextlib import suppress
from itertools import chain
from typing import Dict, Iterable, Iterator, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import InsightError
from ..faces.unit import unit_rows, without_direction
from ..files.text import BLANK, excerpt, is_number, numbered_lines, open_text, ways, whole

FPRS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
PAIRS = 100_000  # pairs that are compared at once
IMAGES = 20_000  # images that are pooled at once


class Templates(NamedTuple):
    """(T,) int64 template numbers, ascending, and (T, E) float64 features of length 1."""

    numbers: np.ndarray
    features: np.ndarray

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Positions of template numbers.

        Raises
        ------
        InsightError
            A template has no image.
        """
        numbers = np.asarray(numbers, np.int64)
        positions = np.minimum(np.searchsorted(self.numbers, numbers), len(self.numbers) - 1)
        missing = numbers[self.numbers[positions] != numbers]
        if len(missing):
            raise InsightError(f"template {missing[0]}: has no image; the list of templates is of another set")
        return positions


def read_media(path) -> Tuple[np.ndarray, np.ndarray]:
    """(N,) templates and (N,) media of ``ijbc_face_tid_mid.txt``: lines ``image template medium``."""
    rows = _columns(path, (1, 2), "image template medium")
    return rows[:, 0], rows[:, 1]


def read_pairs(path) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(P,) templates, (P,) templates, (P,) bool same, of ``ijbc_template_pair_label.txt``: ``template template 1``."""
    want = "template template same"
    rows = _columns(path, (0, 1, 2), want)
    invalid = np.flatnonzero((rows[:, 2] != 0) & (rows[:, 2] != 1))
    if len(invalid):
        raise InsightError(
            f"{path}: pair {invalid[0] + 1}: want lines {want!r}, same 1 or 0; found {rows[invalid[0], 2]}"
        )
    return rows[:, 0], rows[:, 1], rows[:, 2] == 1


def read_subjects(path) -> Tuple[np.ndarray, np.ndarray]:
    """(T,) templates and (T,) subjects of ``ijbc_1N_gallery_G1.csv``: a heading, then ``template,subject,…``."""
    rows = _columns(path, (0, 1), "template,subject")
    return rows[:, 0], rows[:, 1]


def _columns(path, columns: Tuple[int, ...], want: str) -> np.ndarray:
    """(rows, columns) int64 of a table with blanks, tabs or commas between columns, with or without a heading.

    NumPy reads millions of lines in the format of the benchmark's authors. If it fails, a slower reader accepts other
    spellings of integers, and names the line that has none.
    """
    rule = f"want lines {want!r}"
    with open_text(path, rule) as source:
        first = source.readline()
        lines = _ascii(source if _is_heading(first, columns) else chain([first], source))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # NumPy only warns when it converts 1.5 to an integer
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
    """Lines up to the first that is not ASCII: a letter beyond Latin-1 in a number may crash NumPy 1.26."""
    for line in lines:
        if not line.isascii():
            raise ValueError("not ASCII")
        yield line


def _integers(line: str, columns: Tuple[int, ...]) -> Iterator[Tuple[int, ...]]:
    """The numbers in some columns of a line, for each separator that gives integers."""
    for fields in ways(line):
        with suppress(ValueError, IndexError):
            yield tuple(whole(fields[column]) for column in columns)


def _is_heading(line: str, columns: Tuple[int, ...]) -> bool:
    """Whether a first line has words in the columns of the numbers."""
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
    """(N, E) float64: features of images, from which templates are pooled.

    Parameters
    ----------
    plain, mirrored : numpy.ndarray
        (N, E) raw embeddings of the images and of their mirror images, which are summed.
    detector_scores : numpy.ndarray, optional
        (N,): weights of the images.
    unit : bool
        Normalise each sum first, so that its length is not a weight.
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
    """Pool images to templates: the mean over each medium's images, the sum over the template's media, normalised.

    Parameters
    ----------
    features : numpy.ndarray
        (N, E).
    templates, media : numpy.ndarray
        (N,) int64; frames of one video have the same medium.

    Raises
    ------
    InsightError
        Lengths differ.
    """
    templates, media = np.asarray(templates, np.int64), np.asarray(media, np.int64)
    if not len(features) == len(templates) == len(media):
        raise InsightError(
            f"{len(features)} features, {len(templates)} templates and {len(media)} media; want one of each per image"
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


def pool_images(
    plain: np.ndarray,
    mirrored: Optional[np.ndarray],
    detector_scores: Optional[np.ndarray],
    templates: np.ndarray,
    media: np.ndarray,
    unit: bool = False,
) -> Templates:
    """:func:`image_features` and :func:`pool` in blocks of whole templates, without a second copy of all embeddings.

    Raises
    ------
    InsightError
        An embedding is zero or not finite, or lengths differ.
    """
    order = np.argsort(templates, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(np.asarray(templates)[order]) != 0])
    edges = starts[np.searchsorted(starts, np.arange(IMAGES, len(order), IMAGES), side="right") - 1]
    pooled = []
    for rows in np.split(order, np.unique(edges[edges > 0])):
        for passes in (plain, *([] if mirrored is None else [mirrored])):
            invalid = without_direction(passes[rows])
            if invalid.any():
                raise InsightError(
                    f"embedding {rows[np.argmax(invalid)]} (from 0) is zero or not finite; the model is damaged, or "
                    "the file does not contain embeddings"
                )
        both = None if mirrored is None else mirrored[rows]
        weights = None if detector_scores is None else detector_scores[rows]
        features = image_features(plain[rows], both, weights, unit)
        pooled.append(pool(features, np.asarray(templates)[rows], np.asarray(media)[rows]))
    return Templates(*(np.concatenate(parts) for parts in zip(*pooled)))


def compare(templates: Templates, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(P,) float64: cosines of pairs of template numbers."""
    left, right = templates.rows(first), templates.rows(second)
    cosines = np.empty(len(left))
    for start in range(0, len(left), PAIRS):
        block = slice(start, start + PAIRS)
        cosines[block] = np.einsum("ij,ij->i", templates.features[left[block]], templates.features[right[block]])
    return cosines


def tpr_at_fpr(cosines: np.ndarray, same: np.ndarray, fprs: Sequence[float] = FPRS) -> Dict[float, Tuple[float, float]]:
    """FPR to (TPR, FPR of the point that was used), as in InsightFace's table.

    The point of the ROC with the nearest FPR is used, with the highest TPR of several. The ROC is scikit-learn's, which
    drops points on a straight line between their neighbours: the FPR of the point may be larger than the requested
    one, noticeably with few impostor pairs.

    Raises
    ------
    InsightError
        All pairs are of one kind.
    """
    fpr, tpr = _roc(np.asarray(cosines), np.asarray(same, bool))
    fpr, tpr = fpr[::-1], tpr[::-1]  # the first of equal FPRs then has the highest TPR
    nearest = {target: int(np.argmin(np.abs(fpr - target))) for target in fprs}
    return {target: (float(tpr[point]), float(fpr[point])) for target, point in nearest.items()}


def auc(cosines: np.ndarray, same: np.ndarray) -> float:
    """Area under the ROC, the ``AUC`` of InsightFace's table. Raises as :func:`tpr_at_fpr`."""
    fpr, tpr = _roc(np.asarray(cosines), np.asarray(same, bool))
    return float(np.trapz(tpr, fpr))


def _roc(scores: np.ndarray, same: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """FPR and TPR, ascending from (0, 0), at each distinct score that is a corner of the ROC."""
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
