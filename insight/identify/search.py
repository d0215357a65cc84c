"""Exhaustive search of a large gallery for many probes, by cosine, in blocks.

In addition to the two inputs, memory is needed for a normalised copy of the probes, one block of the gallery, one block
of similarities, and the scores kept for each probe. No float array of the size of the gallery is allocated, and the
gallery may be a memory map.

Shapes: P probes, G faces in the gallery, E embedding size, K scores kept per probe.
"""

from __future__ import annotations

from typing import Iterator, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import InsightError
from ..faces.unit import directions
from ..progress import track

GALLERY_ROWS = 8192  # faces per block
PROBE_ROWS = 1024  # probes per block; a block of similarities is 32 MB
STRANGER = -1  # identity of an unknown person, who is different from all other persons


class Scores(NamedTuple):
    """Scores of each probe: that of its own identity, and the highest of other identities.

    The score of an identity is the cosine of its most similar face.

    Attributes
    ----------
    mate : numpy.ndarray
        (P,) float32 scores of the probes' own identities; -inf for an identity that is not in the gallery.
    others : numpy.ndarray
        (P, K) float32 highest scores of other identities, descending; padded with -inf if there are fewer.
    """

    mate: np.ndarray
    others: np.ndarray


def check_shapes(gallery: np.ndarray, probes: np.ndarray) -> None:
    """Raise InsightError unless both are non-empty matrices whose embeddings have the same length."""
    for name, rows in (("gallery", gallery), ("probes", probes)):
        if np.ndim(rows) != 2 or not len(rows):
            raise InsightError(f"{name}: want embeddings (N, E), at least one; found the shape {np.shape(rows)}")
    if gallery.shape[1] != probes.shape[1]:
        raise InsightError(
            f"gallery: embeddings of {gallery.shape[1]} numbers, but {probes.shape[1]} in the probes; "
            "embed both with one model"
        )


def similarities(
    gallery: np.ndarray, probes: np.ndarray, spans: Sequence[np.ndarray], what: str = ""
) -> Iterator[Tuple[int, slice, np.ndarray]]:
    """Compute all cosines, block by block.

    Parameters
    ----------
    gallery, probes : numpy.ndarray
        (G, E) and (P, E) embeddings, not necessarily normalised.
    spans : sequence of slice or (S,) int64
        Positions in the gallery of each block.
    what : str
        Title of the progress bar; empty shows none.

    Yields
    ------
    (int, slice, numpy.ndarray)
        Number of the span, slice of B probes, and cosines (S, B) float32. The array is overwritten by the next block.

    Raises
    ------
    InsightError
        As raised by :func:`check_shapes`, or an embedding is zero or not finite.
    """
    check_shapes(gallery, probes)
    unit = directions(probes, "probes: embedding")
    buffer = np.empty(0, np.float32)
    for number in track(range(len(spans)), what, unit="blocks") if what else range(len(spans)):
        faces = directions(gallery[spans[number]], "gallery: embedding", _first(spans[number]))
        for start in range(0, len(unit), PROBE_ROWS):
            block = slice(start, min(start + PROBE_ROWS, len(unit)))
            size = len(faces) * (block.stop - start)
            if len(buffer) < size:
                buffer = np.empty(size, np.float32)
            out = buffer[:size].reshape(len(faces), -1)
            yield number, block, np.matmul(faces, unit[block].T, out=out)


def _first(span) -> int:
    return int(span.start if isinstance(span, slice) else span[0])


def score(
    gallery: np.ndarray,
    gallery_ids: np.ndarray,
    probes: np.ndarray,
    probe_ids: np.ndarray,
    keep: int,
    what: str = "",
) -> Scores:
    """Score each probe against all identities of the gallery. Raises the errors of :func:`similarities`.

    Parameters
    ----------
    gallery, probes : numpy.ndarray
        (G, E) and (P, E) embeddings, not necessarily normalised.
    gallery_ids, probe_ids : numpy.ndarray
        (G,) and (P,) int64 identities. Each :data:`STRANGER` is a separate identity.
    keep : int
        Number K of scores of other identities to keep for each probe.
    what : str
        Title of the progress bar; empty shows none.
    """
    identities, order, edges, row_of = _by_identity(np.asarray(gallery_ids))
    own = _lookup(identities, row_of, np.asarray(probe_ids))
    spans, firsts = _spans(order, edges)
    mate = np.full(len(probes), -np.inf, np.float32)
    others = np.full((len(probes), keep), -np.inf, np.float32)
    partial = np.full(len(probes), -np.inf, np.float32)  # running score of an identity that spans several blocks
    for number, block, cosines in similarities(gallery, probes, spans, what):
        first, last, ends = firsts[number]
        if last - first == 1:
            cosines = cosines.max(0, keepdims=True)
            np.maximum(cosines[0], partial[block], out=cosines[0])
            partial[block] = -np.inf if ends else cosines[0]
            if not ends:
                continue
        elif len(cosines) > last - first:
            cosines = np.maximum.reduceat(cosines, edges[first:last] - edges[first], axis=0)
        columns = np.flatnonzero((own[block] >= first) & (own[block] < last))
        rows = own[block][columns] - first
        mate[block][columns] = cosines[rows, columns]
        cosines[rows, columns] = -np.inf
        _keep_highest(others[block], cosines)
    return Scores(mate, -np.sort(-others, axis=1))


def _by_identity(ids: np.ndarray) -> tuple:
    """Group the faces by identity.

    Returns (known identities, positions of the faces ordered by group, edges of the groups, number of the group of the
    first known identity).
    """
    known, row_of_face = np.unique(ids, return_inverse=True)
    counts = np.bincount(row_of_face, minlength=len(known))
    order = np.argsort(row_of_face, kind="stable")
    edges = np.concatenate([[0], np.cumsum(counts)])
    if len(known) and known[0] == STRANGER:  # sorted first; each stranger is a separate group
        edges = np.concatenate([np.arange(counts[0]), edges[1:]])
        return known[1:], order, edges, int(counts[0])
    return known, order, edges, 0


def _lookup(identities: np.ndarray, first_row: int, ids: np.ndarray) -> np.ndarray:
    """(P,) int64: the group of each probe's identity, -1 if it is not in the gallery."""
    if not len(identities):
        return np.full(len(ids), -1, np.int64)
    positions = np.minimum(np.searchsorted(identities, ids), len(identities) - 1)
    return np.where(identities[positions] == ids, positions + first_row, -1)


def _spans(order: np.ndarray, edges: np.ndarray) -> tuple:
    """Divide the gallery into blocks of whole groups; a group that is larger than a block is split.

    Returns the positions of the faces of each block, and for each block (first group, end of the groups, whether the
    last group ends here).
    """
    in_order = bool((order == np.arange(len(order))).all())  # if so, blocks are slices, which need no copy
    spans, firsts = [], []
    first = 0
    while first < len(edges) - 1:
        last = max(first + 1, int(np.searchsorted(edges, edges[first] + GALLERY_ROWS, side="right")) - 1)
        stop = int(edges[last])
        for start in range(int(edges[first]), stop, GALLERY_ROWS):
            end = min(start + GALLERY_ROWS, stop)
            spans.append(slice(start, end) if in_order else order[start:end])
            firsts.append((first, last, end == stop))
        first = last
    return spans, firsts


def _keep_highest(kept: np.ndarray, scores: np.ndarray) -> None:
    """Update the K highest scores of each probe (B, K) in place with new scores (S, B)."""
    keep = kept.shape[1]
    rows = np.flatnonzero(scores.max(0) > kept.min(1)) if keep else ()
    if len(rows):
        both = np.concatenate([kept[rows], scores[:, rows].T], axis=1)
        kept[rows] = np.partition(both, both.shape[1] - keep, axis=1)[:, -keep:]


def highest(
    gallery: np.ndarray,
    probes: np.ndarray,
    count: int,
    gallery_ids: Optional[np.ndarray] = None,
    probe_ids: Optional[np.ndarray] = None,
    what: str = "",
) -> np.ndarray:
    """The ``count`` highest cosines between different identities.

    Parameters
    ----------
    gallery, probes : numpy.ndarray
        (G, E) and (P, E) embeddings, not necessarily normalised.
    count : int
        Maximum number of cosines.
    gallery_ids, probe_ids : numpy.ndarray, optional
        (G,) and (P,) int64 identities. If either is missing, all pairs are compared.
    what : str
        Title of the progress bar; empty shows none.

    Returns
    -------
    numpy.ndarray
        (count,) float32, descending; shorter if there are fewer pairs.
    """
    best = np.empty(0, np.float32)
    spans = [slice(start, min(start + GALLERY_ROWS, len(gallery))) for start in range(0, len(gallery), GALLERY_ROWS)]
    for number, block, cosines in similarities(gallery, probes, spans, what):
        if gallery_ids is not None and probe_ids is not None:
            same = np.asarray(gallery_ids)[spans[number]][:, None] == np.asarray(probe_ids)[block][None]
            cosines[same & (np.asarray(probe_ids)[block] != STRANGER)[None]] = -np.inf
        floor = best[-1] if len(best) == count and count else -np.inf
        both = np.concatenate([best, cosines[cosines > floor]])
        if len(both) > count:
            both = np.partition(both, len(both) - count)[len(both) - count :]
        best = -np.sort(-both)
    return best
