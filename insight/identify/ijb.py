"""IJB-B and IJB-C: templates of several images and videos, and 1:1 verification. 1:N is in :mod:`.ijb_search`.

Follows InsightFace's ``recognition/_evaluation_/ijb/ijb_11.py`` @7fadd420, for any embedding size. In the names of its
settings, F1 means that the embedding of the mirror image is added, D1 that images are weighted by the detector's score,
and N1 that they are weighted by the length of the embedding (:func:`image_features` with ``unit=False``). In
``ijb_evals.py`` of the same folder N1 means the opposite.

Shapes: N images, T templates, E embedding size, P pairs.
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
PAIRS = 100_000  # pairs compared per block
IMAGES = 20_000  # images pooled per block


class Templates(NamedTuple):
    """Templates: (T,) int64 numbers, ascending, and (T, E) float64 features of unit length."""

    numbers: np.ndarray
    features: np.ndarray

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Positions of the templates with the given numbers.

        Raises
        ------
        InsightError
            There is no template with one of the numbers.
        """
        numbers = np.asarray(numbers, np.int64)
        positions = np.minimum(np.searchsorted(self.numbers, numbers), len(self.numbers) - 1)
        missing = numbers[self.numbers[positions] != numbers]
        if len(missing):
            raise InsightError(f"template {missing[0]}: has no image; the list of templates is of another set")
        return positions


def read_media(path) -> Tuple[np.ndarray, np.ndarray]:
    """Read ``ijbc_face_tid_mid.txt`` with lines ``image template medium``: (N,) templates and (N,) media, int64."""
    rows = _columns(path, (1, 2), "image template medium")
    return rows[:, 0], rows[:, 1]


def read_pairs(path) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read ``ijbc_template_pair_label.txt`` with lines ``template template same``.

    Returns (P,) int64 first templates, (P,) int64 second templates, and (P,) bool: whether they are of one subject.
    """
    want = "template template same"
    rows = _columns(path, (0, 1, 2), want)
    invalid = np.flatnonzero((rows[:, 2] != 0) & (rows[:, 2] != 1))
    if len(invalid):
        raise InsightError(
            f"{path}: pair {invalid[0] + 1}: want lines {want!r}, same 1 or 0; found {rows[invalid[0], 2]}"
        )
    return rows[:, 0], rows[:, 1], rows[:, 2] == 1


def read_subjects(path) -> Tuple[np.ndarray, np.ndarray]:
    """Read ``ijbc_1N_gallery_G1.csv``, a heading and lines ``template,subject,…``: templates and subjects, int64.

    The list may have several lines of one template, which are all returned.
    """
    rows = _columns(path, (0, 1), "template,subject")
    return rows[:, 0], rows[:, 1]


def _columns(path, columns: Tuple[int, ...], want: str) -> np.ndarray:
    """Read columns of a table separated by blanks, tabs or commas, with or without a heading: (rows, columns) int64.

    NumPy reads the millions of lines of the original files fast. If it fails, a slower reader accepts other spellings
    of integers, and reports the first line that has none.
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
    """Yield lines; raise ValueError at the first that is not ASCII, because NumPy 1.26 may crash on such a number."""
    for line in lines:
        if not line.isascii():
            raise ValueError("not ASCII")
        yield line


def _integers(line: str, columns: Tuple[int, ...]) -> Iterator[Tuple[int, ...]]:
    """Yield the numbers in some columns of a line, for each separator that gives integers."""
    for fields in ways(line):
        with suppress(ValueError, IndexError):
            yield tuple(whole(fields[column]) for column in columns)


def _is_heading(line: str, columns: Tuple[int, ...]) -> bool:
    """Whether the first line of a table is empty, or has no numbers in the columns."""
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
    """Compute the features of images, which are pooled to templates.

    Parameters
    ----------
    plain, mirrored : numpy.ndarray
        (N, E) raw embeddings of the images and, optionally, of their mirror images, which are added.
    detector_scores : numpy.ndarray, optional
        (N,) weights of the images.
    unit : bool
        Normalise each sum before weighting, so that its length is not a weight too.

    Returns
    -------
    numpy.ndarray
        (N, E) float64.
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
    """Pool images to templates: the mean over the images of each medium, then the normalised sum over the media.

    Parameters
    ----------
    features : numpy.ndarray
        (N, E).
    templates, media : numpy.ndarray
        (N,) int64 numbers. Frames of one video have the same medium.

    Raises
    ------
    InsightError
        The inputs have different lengths.
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
    """Apply :func:`image_features` and :func:`pool` to blocks of whole templates, without copying all embeddings.

    Raises
    ------
    InsightError
        An embedding is zero or not finite, or the inputs have different lengths.
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
    """Cosines of pairs of templates, which are given by their numbers: (P,) float64."""
    left, right = templates.rows(first), templates.rows(second)
    cosines = np.empty(len(left))
    for start in range(0, len(left), PAIRS):
        block = slice(start, start + PAIRS)
        cosines[block] = np.einsum("ij,ij->i", templates.features[left[block]], templates.features[right[block]])
    return cosines


def tpr_at_fpr(cosines: np.ndarray, same: np.ndarray, fprs: Sequence[float] = FPRS) -> Dict[float, Tuple[float, float]]:
    """TPR at each FPR, as in InsightFace's table.

    The point of the ROC whose FPR is nearest to the requested one is used; of several, the one with the highest TPR. As
    in scikit-learn, the ROC has no points on a straight line between their neighbours. The FPR of the point may
    therefore be larger than the requested one, noticeably so with few impostor pairs.

    Returns
    -------
    dict
        Requested FPR to (TPR, FPR of the point).

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
    """Area under the ROC, as in InsightFace's table. Raises the errors of :func:`tpr_at_fpr`."""
    fpr, tpr = _roc(np.asarray(cosines), np.asarray(same, bool))
    return float(np.trapz(tpr, fpr))


def _roc(scores: np.ndarray, same: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """FPR and TPR of the corners of the ROC, ascending from (0, 0)."""
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
