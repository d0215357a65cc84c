"""Identity centres, and search for the nearest centres in bounded memory.

A centre is the normalised mean of the normalised embeddings of an identity's images, as in InsightFace
(``src/data/dataset_merge.py`` @9fc3cc9c). All similarities are cosines.

Shapes: N is the number of images, K of identities, R of runs, Q of queries, T of targets, E the embedding size.
"""

from __future__ import annotations

from typing import Callable, Iterable, Iterator, NamedTuple, Optional, Tuple

import numpy as np

from ..faces.unit import directions, scale_to_unit
from ..formats.faceset import FaceSet
from ..progress import track

# Maps the path of a .rec or a verification .bin to batches (B, E) of raw embeddings of its images, in order.
Embed = Callable[[str], Iterable[np.ndarray]]

QUERY_ROWS = 1024
TARGET_ROWS = 16384  # a float32 block of QUERY_ROWS x TARGET_ROWS similarities has 64 MiB


class People(NamedTuple):
    """The identity of each image of a set. All images of a label are one identity, even if not contiguous.

    Attributes
    ----------
    labels : numpy.ndarray
        (K,) int64. The set's label of each identity, in order of first occurrence.
    begins : numpy.ndarray
        (R + 1,) int64. Position at which each run of images of one identity begins, followed by the number of images.
    owners : numpy.ndarray
        (R,) int64. The identity of each run, 0..K-1.
    order : numpy.ndarray
        (R,) int64. The runs sorted by identity, those of one identity in the order of the set.
    edges : numpy.ndarray
        (K + 1,) int64. ``order[edges[k]:edges[k + 1]]`` are the runs of identity k.
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
        """Return the number of images of each identity, (K,) int64."""
        return np.bincount(self.owners, np.diff(self.begins), len(self.labels)).astype(np.int64)

    def images(self, identity: int) -> np.ndarray:
        """Return the positions of the images of one identity, (n,) int64."""
        runs = self.order[self.edges[identity] : self.edges[identity + 1]].tolist()
        return np.concatenate([np.arange(self.begins[run], self.begins[run + 1]) for run in runs])

    def rows(self, begin: int, end: int) -> np.ndarray:
        """Return the identities of the images ``begin`` to ``end - 1``, (end - begin,) int64."""
        return self.owners[np.searchsorted(self.begins, np.arange(begin, end), side="right") - 1]


def unit_embeddings(embed: Embed, path: str) -> Iterator[np.ndarray]:
    """Yield the normalised embeddings of a source's images in order, in batches (B, E) of float32.

    Raises
    ------
    InsightError
        An embedding is not finite, or is zero and cannot be normalised.
    """
    done = 0
    for rows in embed(path):
        yield directions(rows, f"{path}: the embedding of image", done)
        done += len(rows)


def centres(embed: Embed, path: str, people: People) -> np.ndarray:
    """Return the centre of each identity of a set, (K, E) float32. Only sums are kept in memory, not embeddings."""
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
    """Find the most similar target of each query, in blocks.

    Parameters
    ----------
    queries, targets : numpy.ndarray
        (Q, E) and (T, E) float32, rows of length 1.
    eligible : numpy.ndarray, optional
        (T,) bool. Targets to compare with; default: all.
    what : str
        Description in the progress bar; no bar is shown if it is empty.

    Returns
    -------
    index : numpy.ndarray
        (Q,) int64. The first target in case of ties; -1 if no target is eligible.
    cosine : numpy.ndarray
        (Q,) float32. -inf if no target is eligible.
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
    """Return a contiguous (rows, columns) array in the buffer's memory, since BLAS needs a contiguous output."""
    return buffer.reshape(-1)[: rows * columns].reshape(rows, columns)


class Matches(NamedTuple):
    """The most similar earlier identity of each identity of a set, (Q,) int64 or -1, and its cosine, (Q,) float32."""

    index: np.ndarray
    cosine: np.ndarray


def match_earlier(
    all_centres: np.ndarray, begin: int, end: int, eligible: np.ndarray, threshold: float, within: bool, pool: bool
) -> Matches:
    """Match the identities ``begin`` to ``end - 1``, which are one set, with earlier identities, in order.

    Parameters
    ----------
    all_centres : numpy.ndarray
        (K, E) float32. Normalised centres of all sets, in the order of the sets.
    begin, end : int
        Rows of the set to match.
    eligible : numpy.ndarray
        (K,) bool. Identities that can be matched. Rows ``begin:end`` are updated in place: an identity of this set
        is eligible unless it is matched and ``pool`` is false.
    threshold : float
        Minimum cosine at which two identities match, that is, are one person.
    within : bool
        Whether identities are also matched with earlier eligible ones of the same set.
    pool : bool
        Whether matched identities stay eligible, because they are pooled and not dropped.
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
    """Replace the match of a row by an earlier row of its own block if that is more similar."""
    row = len(similar)
    similar = np.where(eligible, similar, -np.inf)
    best = int(similar.argmax())
    if similar[best] > cosine[row]:
        index[row], cosine[row] = first + best, similar[best]
