"""Identity centres, and which of many others is nearest to each, in bounded memory.

A centre is the normalised mean of the normalised embeddings of an identity's images, as InsightFace
compares identities (``src/data/dataset_merge.py`` @9fc3cc9c). All similarities are cosines.

Shapes: N images, K identities, Q queries, T targets, E length of an embedding.
"""

from __future__ import annotations

from typing import Callable, Iterable, Iterator, NamedTuple, Optional, Tuple

import numpy as np

from ..faces.unit import directions, scale_to_unit
from ..formats.faceset import FaceSet
from ..progress import track

# The path of a .rec or a verification .bin -> raw embeddings (B, E) of its images, in order, batch by batch.
Embed = Callable[[str], Iterable[np.ndarray]]

QUERY_ROWS = 1024
TARGET_ROWS = 16384  # a block of similarities is 64 MB


class People(NamedTuple):
    """Who is on which image of a set; images of one label are one identity, wherever they stand.

    Attributes
    ----------
    labels : numpy.ndarray
        (K,) int64: the set's label of each identity, in the order in which they first occur.
    rows : numpy.ndarray
        (N,) int64: the identity of each image, 0..K-1.
    order : numpy.ndarray
        (N,) int64: positions of images, identity after identity, in the set's order within one.
    edges : numpy.ndarray
        (K + 1,) int64: ``order[edges[k]:edges[k + 1]]`` are the images of identity k.
    """

    labels: np.ndarray
    rows: np.ndarray
    order: np.ndarray
    edges: np.ndarray

    @classmethod
    def of(cls, faces: FaceSet) -> People:
        labels, first, inverse = np.unique(faces.labels, return_index=True, return_inverse=True)
        by_first = np.argsort(first)
        rank = np.empty(len(labels), np.int64)
        rank[by_first] = np.arange(len(labels))
        rows = rank[inverse]
        edges = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(labels)))])
        return cls(labels[by_first], rows, np.argsort(rows, kind="stable"), edges)

    def __len__(self) -> int:
        return len(self.labels)

    def counts(self) -> np.ndarray:
        """(K,) int64: images of each identity."""
        return np.diff(self.edges)

    def images(self, identity: int) -> np.ndarray:
        """Positions of the images of one identity."""
        return self.order[self.edges[identity] : self.edges[identity + 1]]


def unit_embeddings(embed: Embed, path: str) -> Iterator[np.ndarray]:
    """Embeddings (B, E) of a source's images, float32 of length 1, in order, batch by batch.

    Raises
    ------
    InsightError
        An embedding is not finite, or zero, so that it has no direction.
    """
    done = 0
    for rows in embed(path):
        yield directions(rows, f"{path}: the embedding of image", done)
        done += len(rows)


def centres(embed: Embed, path: str, people: People) -> np.ndarray:
    """(K, E) float32: the centre of each identity of a set. Only sums are held, not the embeddings."""
    sums = np.zeros((0, 0), np.float32)
    done = 0
    for rows in unit_embeddings(embed, path):
        if not done:
            sums = np.zeros((len(people), rows.shape[1]), np.float32)
        np.add.at(sums, people.rows[done : done + len(rows)], rows)
        done += len(rows)
    return scale_to_unit(sums)


def nearest(
    queries: np.ndarray, targets: np.ndarray, standing: Optional[np.ndarray] = None, what: str = ""
) -> Tuple[np.ndarray, np.ndarray]:
    """The most similar target of each query, by blocks.

    Parameters
    ----------
    queries, targets : numpy.ndarray
        (Q, E) and (T, E) float32, rows of length 1.
    standing : numpy.ndarray, optional
        (T,) bool: which targets take part; all of them where missing.
    what : str
        What to call the work where progress is shown; empty shows none.

    Returns
    -------
    index : numpy.ndarray
        (Q,) int64, the first of equals; -1 where no target takes part.
    cosine : numpy.ndarray
        (Q,) float32; -inf where no target takes part.
    """
    index = np.full(len(queries), -1, np.int64)
    cosine = np.full(len(queries), -np.inf, np.float32)
    starts = range(0, len(queries), QUERY_ROWS)
    buffer = np.empty((min(QUERY_ROWS, len(queries)), min(TARGET_ROWS, len(targets))), np.float32)
    for begin in track(starts, what, unit=f"blocks of {QUERY_ROWS}") if what else starts:
        block = slice(begin, min(begin + QUERY_ROWS, len(queries)))
        rows = np.arange(block.stop - begin)
        for first in range(0, len(targets), TARGET_ROWS):
            some = targets[first : first + TARGET_ROWS]
            similar = np.matmul(queries[block], some.T, out=_corner(buffer, len(rows), len(some)))
            if standing is not None:
                similar[:, ~standing[first : first + TARGET_ROWS]] = -np.inf
            best = similar.argmax(1)
            better = similar[rows, best] > cosine[block]
            index[block][better] = first + best[better]
            cosine[block][better] = similar[rows, best][better]
    return index, cosine


def _corner(buffer: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A contiguous (rows, columns) in the buffer's memory; BLAS writes into nothing else."""
    return buffer.reshape(-1)[: rows * columns].reshape(rows, columns)


class Matches(NamedTuple):
    """The most similar earlier identity of each identity of a set: (Q,) int64 or -1, and its cosine."""

    index: np.ndarray
    cosine: np.ndarray


def match_earlier(
    every: np.ndarray, begin: int, end: int, standing: np.ndarray, threshold: float, within: bool, stays: bool
) -> Matches:
    """Match identities ``begin..end`` of one set with those before, in order.

    Parameters
    ----------
    every : numpy.ndarray
        (K, E) float32 centres of all sets, one after the other.
    begin, end : int
        Those of the set in question.
    standing : numpy.ndarray
        (K,) bool: which identities can be matched. Rows ``begin:end`` are written: each identity
        of the set stands unless its match reaches the threshold.
    threshold : float
        Cosine from which on two identities are one person.
    within : bool
        Whether identities of the same set are matched too, each with the earlier ones that stand.
    stays : bool
        Whether a matched identity can be matched itself (it is pooled, not dropped).
    """
    index = np.full(end - begin, -1, np.int64)
    cosine = np.full(end - begin, -np.inf, np.float32)
    standing[begin:end] = True
    for first in track(range(begin, end, QUERY_ROWS), "comparing", unit=f"blocks of {QUERY_ROWS} identities"):
        last = min(first + QUERY_ROWS, end)
        known = first if within else begin
        here = slice(first - begin, last - begin)
        index[here], cosine[here] = nearest(every[first:last], every[:known], standing[:known])
        beside = every[first:last] @ every[first:last].T if within else None
        for row in range(last - first):
            if beside is not None and row:
                _match_beside(beside[row, :row], standing[first : first + row], first, index[here], cosine[here])
            if cosine[here][row] >= threshold and not stays:
                standing[first + row] = False
    return Matches(index, cosine)


def _match_beside(similar, standing, first, index, cosine) -> None:
    """Let a row's match in its own block replace the one before it, where it is nearer."""
    row = len(similar)
    similar = np.where(standing, similar, -np.inf)
    best = int(similar.argmax())
    if similar[best] > cosine[row]:
        index[row], cosine[row] = first + best, similar[best]
