"""Identity centres, and the nearest of many others to each, in bounded memory.

A centre is the normalised mean of the normalised embeddings of an identity's images, as in InsightFace
(``src/data/dataset_merge.py`` @9fc3cc9c). All similarities are cosines.

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
    """The identity of each image of a set; all images of one label are one identity, in any order.

    Attributes
    ----------
    labels : numpy.ndarray
        (K,) int64: the set's label of each identity, in order of first occurrence.
    begins : numpy.ndarray
        (R + 1,) int64: position at which each run of images of one identity begins, and the number of images.
    owners : numpy.ndarray
        (R,) int64: the identity of each run, 0..K-1.
    order : numpy.ndarray
        (R,) int64: runs, identity after identity, each in the set's order.
    edges : numpy.ndarray
        (K + 1,) int64: ``order[edges[k]:edges[k + 1]]`` are the runs of identity k.
    """

    labels: np.ndarray
    begins: np.ndarray
    owners: np.ndarray
    order: np.ndarray
    edges: np.ndarray

    @classmethod
    def of(cls, faces: FaceSet) -> People:
        of_runs = faces.labels[faces.identities[:, 0]].astype(np.int64)
        labels, first, inverse = np.unique(of_runs, return_index=True, return_inverse=True)
        by_first = np.argsort(first)
        rank = np.empty(len(labels), np.int64)
        rank[by_first] = np.arange(len(labels))
        owners = rank[inverse]
        edges = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=len(labels)))])
        begins = np.append(faces.identities[:, 0], len(faces))
        return cls(labels[by_first], begins, owners, np.argsort(owners, kind="stable"), edges)

    def __len__(self) -> int:
        return len(self.labels)

    def counts(self) -> np.ndarray:
        """(K,) int64: images of each identity."""
        return np.bincount(self.owners, np.diff(self.begins), len(self.labels)).astype(np.int64)

    def images(self, identity: int) -> np.ndarray:
        """Positions of the images of one identity, (n,) int64."""
        runs = self.order[self.edges[identity] : self.edges[identity + 1]].tolist()
        return np.concatenate([np.arange(self.begins[run], self.begins[run + 1]) for run in runs])

    def rows(self, begin: int, end: int) -> np.ndarray:
        """The identities of images ``begin`` to ``end - 1``, (n,) int64."""
        return self.owners[np.searchsorted(self.begins, np.arange(begin, end), side="right") - 1]


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
    """(K, E) float32: the centre of each identity of a set. Keeps only sums in memory, not the embeddings."""
    sums = np.zeros((0, 0), np.float32)
    done = 0
    for rows in unit_embeddings(embed, path):
        if not done:
            sums = np.zeros((len(people), rows.shape[1]), np.float32)
        np.add.at(sums, people.rows(done, done + len(rows)), rows)
        done += len(rows)
    return scale_to_unit(sums)


def nearest(
    queries: np.ndarray, targets: np.ndarray, eligible: Optional[np.ndarray] = None, what: str = ""
) -> Tuple[np.ndarray, np.ndarray]:
    """The most similar target of each query, in blocks.

    Parameters
    ----------
    queries, targets : numpy.ndarray
        (Q, E) and (T, E) float32, rows of length 1.
    eligible : numpy.ndarray, optional
        (T,) bool: targets to compare with; default: all.
    what : str
        Name of the work in the progress bar; empty: no bar.

    Returns
    -------
    index : numpy.ndarray
        (Q,) int64, the first one in case of ties; -1 without an eligible target.
    cosine : numpy.ndarray
        (Q,) float32; -inf without an eligible target.
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
            if eligible is not None:
                similar[:, ~eligible[first : first + TARGET_ROWS]] = -np.inf
            best = similar.argmax(1)
            better = similar[rows, best] > cosine[block]
            index[block][better] = first + best[better]
            cosine[block][better] = similar[rows, best][better]
    return index, cosine


def _corner(buffer: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A contiguous (rows, columns) array in the buffer's memory, as BLAS needs it for its output."""
    return buffer.reshape(-1)[: rows * columns].reshape(rows, columns)


class Matches(NamedTuple):
    """The most similar earlier identity of each identity of a set: (Q,) int64 or -1, and its cosine."""

    index: np.ndarray
    cosine: np.ndarray


def match_earlier(
    all_centres: np.ndarray, begin: int, end: int, eligible: np.ndarray, threshold: float, within: bool, pool: bool
) -> Matches:
    """Match identities ``begin..end`` of one set with earlier ones, in order.

    Parameters
    ----------
    all_centres : numpy.ndarray
        (K, E) float32 centres of all sets, one after the other.
    begin, end : int
        Rows of the set to match.
    eligible : numpy.ndarray
        (K,) bool: identities that can be matched. Rows ``begin:end`` are written: an identity
        of the set is eligible unless its match reaches the threshold.
    threshold : float
        Lowest cosine at which two identities are one person.
    within : bool
        Whether identities of the same set are matched too, each with the earlier eligible ones.
    pool : bool
        Whether a matched identity stays eligible (it is pooled, not dropped).
    """
    index = np.full(end - begin, -1, np.int64)
    cosine = np.full(end - begin, -np.inf, np.float32)
    eligible[begin:end] = True
    for first in track(range(begin, end, QUERY_ROWS), "comparing", unit=f"blocks of {QUERY_ROWS} identities"):
        last = min(first + QUERY_ROWS, end)
        earlier = first if within else begin
        here = slice(first - begin, last - begin)
        index[here], cosine[here] = nearest(all_centres[first:last], all_centres[:earlier], eligible[:earlier])
        block = all_centres[first:last] @ all_centres[first:last].T if within else None
        for row in range(last - first):
            if block is not None and row:
                _match_in_block(block[row, :row], eligible[first : first + row], first, index[here], cosine[here])
            if cosine[here][row] >= threshold and not pool:
                eligible[first + row] = False
    return Matches(index, cosine)


def _match_in_block(similar, eligible, first, index, cosine) -> None:
    """Replace a row's match by an earlier row of its own block if that is nearer."""
    row = len(similar)
    similar = np.where(eligible, similar, -np.inf)
    best = int(similar.argmax())
    if similar[best] > cosine[row]:
        index[row], cosine[row] = first + best, similar[best]
