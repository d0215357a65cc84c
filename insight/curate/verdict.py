"""The decisions on the images of an identity, and the base class of the rules that make them."""

from __future__ import annotations

import abc
from typing import ClassVar, Dict, List, NamedTuple, Tuple

import numpy as np

from ..formats.faceset import FaceSet

COPY = "copy"


class Verdict(NamedTuple):
    """The decisions on the n images of one identity.

    Attributes
    ----------
    person : numpy.ndarray
        (n,) int64. Number of the person in each image; person 0 has most images.
    reason : list of str
        Reason for which each image is dropped; "" if it is kept.
    cosine : numpy.ndarray
        (n,) float32. Cosine to the centre of the image's person, or of person 0 if the image is dropped as one of a
        second person; for a copy, cosine to the image that it repeats.
    copy_of : numpy.ndarray
        (n,) int64. Position of the image that a copy repeats; -1 for images that are not copies.
    groups : list of numpy.ndarray
        Positions of the images of each resulting identity.
    people : int
        Number of people in the images.
    """

    person: np.ndarray
    reason: List[str]
    cosine: np.ndarray
    copy_of: np.ndarray
    groups: List[np.ndarray]
    people: int


class Judge(abc.ABC):
    """Base class of the rules of a cleaning.

    Attributes
    ----------
    WORDS : dict of str to str
        Description in the report of the images that are dropped for each reason.
    """

    WORDS: ClassVar[Dict[str, str]]

    @abc.abstractmethod
    def check(self) -> None:
        """Raise InsightError if a value is out of range."""

    def check_set(self, faces: FaceSet) -> None:  # noqa: B027 (most take every set)
        """Raise InsightError for a set to which the rules do not apply. By default, they apply to every set."""

    @abc.abstractmethod
    def judge(self, label: int, rows: np.ndarray) -> Verdict:
        """Judge the images of one identity.

        Parameters
        ----------
        label : int
            Label of the identity in the set.
        rows : numpy.ndarray
            (n, E) float32. Normalised embeddings of the images.
        """


def with_copies(rows: np.ndarray, copy_of: np.ndarray, cosine: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Return the positions of the copies, and ``cosine`` with those of copies to the images that they repeat."""
    repeats = np.flatnonzero(copy_of >= 0)
    cosine = cosine.copy()
    cosine[repeats] = np.einsum("ij,ij->i", rows[repeats], rows[copy_of[repeats]])
    return repeats, cosine
