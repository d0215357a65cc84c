"""Triplet loss of a batch and its gradient with respect to the embeddings, in float64.

Each image has one row, however many triplets it is part of. The loss depends on the embeddings only through the cosines
of pairs, so the gradients of all triplets are summed in a (B, B) matrix d loss / d cosine. One product with the unit
vectors then gives the gradients of the embeddings (the scheme of training/OpenFaceOptim.lua,
cmusatyalab/openface@05147522, without its copies of rows for each triplet).
"""

from __future__ import annotations

from typing import Callable, Dict, Iterable, NamedTuple, Tuple

import numpy as np

from .distances import SQUARED, Distance, to_unit
from .picking import Triplets

BIN = 0.05  # bin width of the histograms, in squared distance
SPANS = {"positives": (0.0, 4.0), "negatives": (0.0, 4.0), "gaps": (-4.0, 4.0)}


class TripletLoss(NamedTuple):
    """Loss, gradient and statistics of a batch's triplets.

    Attributes
    ----------
    loss : float
        Mean loss of the triplets; 0 if there are none.
    gradient : np.ndarray
        (B, E) float64, d loss / d embedding.
    triplets : int
        Number of triplets.
    active : int
        Number of triplets with d(a, n) - d(a, p) < alpha.
    d2_ap, d2_an : float
        Mean squared Euclidean distance of positives and of negatives from their anchors; NaN without triplets.
    counts : dict of str to np.ndarray
        Histograms by the names in :data:`SPANS`, int64 counts in bins of width :data:`BIN`: of the squared distances
        of positives and of negatives, and of the differences (negative minus positive).
    """

    loss: float
    gradient: np.ndarray
    triplets: int
    active: int
    d2_ap: float
    d2_an: float
    counts: Dict[str, np.ndarray]


def _hinge(violation: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    return np.maximum(violation, 0), (violation > 0).astype(np.float64)


def _soft(violation: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    return np.logaddexp(0, violation), np.exp(-np.logaddexp(0, -violation))


def triplet_loss(
    rows: np.ndarray,
    blocks: Callable[[np.ndarray], Iterable[Triplets]],
    alpha: float,
    soft: bool = False,
    over_active: bool = False,
    distance: Distance = SQUARED,
) -> TripletLoss:
    """Mean over triplets of max(0, d(a, p) - d(a, n) + alpha), or of ln(1 + exp(d(a, p) - d(a, n))).

    Parameters
    ----------
    rows : np.ndarray
        (B, E) embeddings, not normalised.
    blocks : callable
        Function from the (B, E) float64 unit vectors to an iterator over blocks of triplets, such as
        :func:`.picking.pick`.
    alpha : float
        Margin, in units of ``distance``. With ``soft`` it only determines which triplets count as active.
    soft : bool
        Use the second formula, in which all triplets have a gradient.
    over_active : bool
        Take the mean over the triplets with a nonzero gradient instead of all triplets.
    distance : Distance
        d.
    """
    unit, lengths = to_unit(rows)
    batch = len(unit)
    cosines = unit @ unit.T
    distances, squared = distance.of(cosines), SQUARED.of(cosines)
    weights = np.zeros(batch * batch)
    total, triplets, active, learning, d2_ap, d2_an = 0.0, 0, 0, 0, 0.0, 0.0
    counts = {name: np.zeros(round((high - low) / BIN), np.int64) for name, (low, high) in SPANS.items()}
    for anchor, positive, negative in blocks(unit):
        ap, an = anchor * batch + positive, anchor * batch + negative
        gap = distances.ravel()[an] - distances.ravel()[ap]
        loss, slope = _soft(-gap) if soft else _hinge(alpha - gap)
        weights += np.bincount(ap, slope, batch * batch) - np.bincount(an, slope, batch * batch)
        total += float(loss.sum())
        triplets += len(anchor)
        active += int((gap < alpha).sum())
        learning += int(np.count_nonzero(slope))
        values = {"positives": squared.ravel()[ap], "negatives": squared.ravel()[an]}
        values["gaps"] = values["negatives"] - values["positives"]
        d2_ap, d2_an = d2_ap + float(values["positives"].sum()), d2_an + float(values["negatives"].sum())
        for name, span in SPANS.items():
            counts[name] += np.histogram(values[name], len(counts[name]), span)[0]
    share = 1 / max(1, learning if over_active else triplets)
    slopes = weights.reshape(batch, batch) * distance.slope(cosines) * share
    gradient = (slopes + slopes.T) @ unit
    gradient -= unit * np.einsum("ij,ij->i", gradient, unit)[:, None]  # the loss is independent of the lengths
    d2_ap, d2_an = (s / triplets if triplets else np.nan for s in (d2_ap, d2_an))
    return TripletLoss(total * share, gradient / lengths[:, None], triplets, active, d2_ap, d2_an, counts)
