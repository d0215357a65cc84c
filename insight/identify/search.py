"""Cosines between many probes and a large gallery, exact, block by block.

Nothing of the size of the gallery is made: beside the two inputs, memory is that of one block of similarities
and of what is kept for each probe. The gallery may be a memory map.

Shapes: P probes, G faces of a gallery, E length of an embedding, K scores that are kept.
"""

from __future__ import annotations

from typing import Iterator, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import InsightError
from ..faces.unit import directions
from ..progress import track

GALLERY_ROWS = 8192
PROBE_ROWS = 1024  # a block of similarities is 32 MB
STRANGER = -1  # the identity of whoever is nobody else


class Scores(NamedTuple):
    """For each probe the score of its own identity and the highest of others.

    The score of an identity is the cosine of its most similar face.

    Attributes
    ----------
    mate : numpy.ndarray
        (P,) float32; -inf where the gallery does not hold the probe's identity.
    others : numpy.ndarray
        (P, K) float32, falling; -inf where there are fewer others.
    """

    mate: np.ndarray
    others: np.ndarray


def check_shapes(gallery: np.ndarray, probes: np.ndarray) -> None:
    """Both hold something, and embeddings of one length."""
    for name, rows in (("gallery", gallery), ("probes", probes)):
        if np.ndim(rows) != 2 or not len(rows):
            raise InsightError(f"{name}: want embeddings (N, E), at least one; found the shape {np.shape(rows)}")
    if gallery.shape[1] != probes.shape[1]:
        raise InsightError(
            f"gallery: embeddings of {gallery.shape[1]} numbers, and {probes.shape[1]} in the probes; "
            "embed both with one model"
        )


def similarities(
    gallery: np.ndarray, probes: np.ndarray, spans: Sequence[np.ndarray], what: str = ""
) -> Iterator[Tuple[int, slice, np.ndarray]]:
    """Every cosine once: (number of the span, slice of probes, (S, B) float32) for each span and block of probes.

    Parameters
    ----------
    gallery, probes : numpy.ndarray
        (G, E) and (P, E), of any length.
    spans : sequence of slice or (S,) int64
        Positions in the gallery that are compared together.
    what : str
        What to call the work where progress is shown; empty shows none.

    The array is overwritten by the next one.
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
    """Each probe against every identity of the gallery.

    Parameters
    ----------
    gallery, probes : numpy.ndarray
        (G, E) and (P, E), of any length.
    gallery_ids, probe_ids : numpy.ndarray
        (G,) and (P,) int64; :data:`STRANGER` is an identity of its own each time.
    keep : int
        K.
    what : str
        What to call the work where progress is shown.
    """
    identities, order, edges, row_of = _by_identity(np.asarray(gallery_ids))
    own = _lookup(identities, row_of, np.asarray(probe_ids))
    spans, firsts = _spans(order, edges)
    mate = np.full(len(probes), -np.inf, np.float32)
    others = np.full((len(probes), keep), -np.inf, np.float32)
    partial = np.full(len(probes), -np.inf, np.float32)  # of an identity with more faces than a block
    for number, block, found in similarities(gallery, probes, spans, what):
        first, last, ends = firsts[number]
        if last - first == 1:
            found = found.max(0, keepdims=True)
            np.maximum(found[0], partial[block], out=found[0])
            partial[block] = -np.inf if ends else found[0]
            if not ends:
                continue
        elif len(found) > last - first:
            found = np.maximum.reduceat(found, edges[first:last] - edges[first], axis=0)
        here = np.flatnonzero((own[block] >= first) & (own[block] < last))
        at = own[block][here] - first
        mate[block][here] = found[at, here]
        found[at, here] = -np.inf
        _keep_highest(others[block], found)
    return Scores(mate, -np.sort(-others, axis=1))


def _by_identity(ids: np.ndarray) -> tuple:
    """(known identities, faces identity after identity, edges of each, row of each known identity)."""
    known, row_of_face = np.unique(ids, return_inverse=True)
    counts = np.bincount(row_of_face, minlength=len(known))
    order = np.argsort(row_of_face, kind="stable")
    edges = np.concatenate([[0], np.cumsum(counts)])
    if len(known) and known[0] == STRANGER:  # which sorts first: each of them is one
        edges = np.concatenate([np.arange(counts[0]), edges[1:]])
        return known[1:], order, edges, int(counts[0])
    return known, order, edges, 0


def _lookup(identities: np.ndarray, first_row: int, ids: np.ndarray) -> np.ndarray:
    """(P,) int64: the row of each probe's identity, -1 where the gallery has it not."""
    if not len(identities):
        return np.full(len(ids), -1, np.int64)
    at = np.minimum(np.searchsorted(identities, ids), len(identities) - 1)
    return np.where(identities[at] == ids, at + first_row, -1)


def _spans(order: np.ndarray, edges: np.ndarray) -> tuple:
    """Blocks of whole identities; one that is larger than a block makes several, and the last of them ``ends`` it."""
    in_order = bool((order == np.arange(len(order))).all())  # then a block is a view
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


def _keep_highest(kept: np.ndarray, found: np.ndarray) -> None:
    """Let the columns' K highest replace the rows of (B, K) where they are higher; found is (S, B)."""
    keep = kept.shape[1]
    rows = np.flatnonzero(found.max(0) > kept.min(1)) if keep else ()
    if len(rows):
        both = np.concatenate([kept[rows], found[:, rows].T], axis=1)
        kept[rows] = np.partition(both, both.shape[1] - keep, axis=1)[:, -keep:]


def highest(
    gallery: np.ndarray,
    probes: np.ndarray,
    count: int,
    gallery_ids: Optional[np.ndarray] = None,
    probe_ids: Optional[np.ndarray] = None,
    what: str = "",
) -> np.ndarray:
    """The ``count`` highest of all cosines between different identities, falling: (count,) float32, or fewer.

    Without identities every pair counts.
    """
    best = np.empty(0, np.float32)
    spans = [slice(start, min(start + GALLERY_ROWS, len(gallery))) for start in range(0, len(gallery), GALLERY_ROWS)]
    for number, block, found in similarities(gallery, probes, spans, what):
        if gallery_ids is not None and probe_ids is not None:
            same = np.asarray(gallery_ids)[spans[number]][:, None] == np.asarray(probe_ids)[block][None]
            found[same & (np.asarray(probe_ids)[block] != STRANGER)[None]] = -np.inf
        floor = best[-1] if len(best) == count and count else -np.inf
        both = np.concatenate([best, found[found > floor]])
        if len(both) > count:
            both = np.partition(both, len(both) - count)[len(both) - count :]
        best = -np.sort(-both)
    return best
