"""What is decided on the images of an identity, and who decides."""

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
        (n,) int64: number of the person; 0 has most images.
    reason : list of str
        Why an image is dropped; empty if it is kept.
    cosine : numpy.ndarray
        (n,) float32: to the centre of its person, or of person 0 if it is dropped as a second person;
        for a copy, to the image that it repeats.
    copy_of : numpy.ndarray
        (n,) int64: position of the image that a copy repeats; -1 for all others.
    groups : list of numpy.ndarray
        Positions of the images of each resulting identity.
    people : int
        How many people the images are of.
    """

    person: np.ndarray
    reason: List[str]
    cosine: np.ndarray
    copy_of: np.ndarray
    groups: List[np.ndarray]
    people: int


class Judge(abc.ABC):
    """The rules of a cleaning.

    Attributes
    ----------
    WORDS : dict of str to str
        Each reason for which an image is dropped, and how the report names such images.
    """

    WORDS: ClassVar[Dict[str, str]]

    @abc.abstractmethod
    def check(self) -> None:
        """Raise InsightError if a value is out of range."""

    def check_set(self, faces: FaceSet) -> None:  # noqa: B027 (most take every set)
        """Raise InsightError for a set that it cannot judge."""

    @abc.abstractmethod
    def judge(self, label: int, rows: np.ndarray) -> Verdict:
        """Judge the images of one identity.

        Parameters
        ----------
        label : int
            Of the identity in the set.
        rows : numpy.ndarray
            (n, E) float32: their embeddings, of length 1.
        """


def with_copies(rows: np.ndarray, copy_of: np.ndarray, cosine: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """(positions of the copies, ``cosine`` with theirs to the images that they repeat)."""
    repeats = np.flatnonzero(copy_of >= 0)
    cosine = cosine.copy()
    cosine[repeats] = np.einsum("ij,ij->i", rows[repeats], rows[copy_of[repeats]])
    return repeats, cosine
