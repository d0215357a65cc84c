"""Compute all metrics of IJB-B or IJB-C, 1:1 and 1:N, from the embeddings of the images."""

from __future__ import annotations

from typing import Dict, List, NamedTuple

import numpy as np

from ..errors import InsightError
from ..faces.embed import Embedded
from . import ijb, ijb_search
from .ijb_set import MANY, ONE, IjbSet, Subjects
from .protocol import ProtocolFigure, ProtocolResult, figures_of


class Weights(NamedTuple):
    """Settings of InsightFace's scripts; the defaults are those of its published tables."""

    flip: bool = True  # add the embedding of the mirror image
    detector_score: bool = True  # weight images by the detector's score
    feature_norm: bool = True  # weight images by the length of their embedding


def evaluate(ijb_set: IjbSet, embedded: Embedded, weights: Weights, source: str) -> ProtocolResult:
    """Compute all metrics of a set.

    Parameters
    ----------
    ijb_set : IjbSet
    embedded : Embedded
        Raw embeddings (N, E) of the images of the set, and those of the mirror images if ``weights.flip``.
    weights : Weights
    source : str
        Path of the embeddings, for error messages.

    Raises
    ------
    InsightError
        The embeddings are of other images, those of the mirror images are missing, or one is zero or not finite.
    """
    if len(embedded.keys) != len(ijb_set.names) or embedded.keys.tolist() != ijb_set.names:
        raise InsightError(
            f"{source}: embeddings of {len(embedded.keys)} images, which are not the {len(ijb_set.names)} of the "
            "lists; give the file of this set"
        )
    if weights.flip and embedded.mirrored is None:
        raise InsightError(
            f"{source}: has no embeddings of mirror images; give --flip none, or another name to --embeddings"
        )
    mirrored = embedded.mirrored if weights.flip else None
    scores = ijb_set.scores if weights.detector_score else None
    numbers = ijb_set.templates, ijb_set.media
    try:
        templates = ijb.pool_images(embedded.embeddings, mirrored, scores, *numbers, unit=not weights.feature_norm)
    except InsightError as error:
        raise InsightError(f"{source}: {error}") from None
    counts = {
        "images": len(ijb_set.names),
        "media": np.unique(np.stack(numbers), axis=1).shape[1],
        "templates": len(templates.numbers),
    }
    figures: List[ProtocolFigure] = []
    if ijb_set.pairs is not None:
        same = ijb_set.pairs[2]
        counts.update({"genuine pairs": int(same.sum()), "impostor pairs": int((~same).sum())})
        figures += _one_to_one(templates, ijb_set.pairs)
    if ijb_set.galleries is not None and ijb_set.probes is not None:
        counts.update(
            {"subjects": sum(len(s) for _, s in ijb_set.galleries.values()), "probes": len(ijb_set.probes[0])}
        )
        figures += _one_to_many(templates, ijb_set.galleries, ijb_set.probes)
    models = [] if embedded.about is None else [dict(embedded.about)]
    return ProtocolResult(_title(ijb_set.target), models, weights._asdict(), counts, figures)


def _title(target: str) -> str:
    return f"{target[:3]}-{target[3:]}"


def _one_to_one(templates: ijb.Templates, pairs) -> List[ProtocolFigure]:
    cosines = ijb.compare(templates, *pairs[:2])
    points = ijb.tpr_at_fpr(cosines, pairs[2])
    notes = [f"at FAR {far:.3g}" for _, far in points.values()]
    rates = {target: tar for target, (tar, _) in points.items()}
    return [*figures_of(ONE, "TAR@FAR", rates, notes), ProtocolFigure(ONE, "AUC", None, ijb.auc(cosines, pairs[2]))]


def _one_to_many(templates: ijb.Templates, lists: Dict[str, Subjects], probes: Subjects) -> List[ProtocolFigure]:
    def features(numbers: np.ndarray) -> np.ndarray:
        return templates.features[templates.rows(numbers)]

    searched = features(probes[0])
    galleries = {name: (features(numbers), subjects) for name, (numbers, subjects) in lists.items()}
    joined = [np.concatenate(parts) for parts in zip(*galleries.values())]
    parts = {"galleries joined": ijb_search.identify(*joined, searched, probes[1])}
    each, mean = ijb_search.identify_each(list(galleries.values()), searched, probes[1])
    parts.update({f"gallery {name}": identified for name, identified in zip(galleries, each)})
    parts["both galleries"] = mean
    figures: List[ProtocolFigure] = []
    for part, identified in parts.items():
        figures += figures_of(f"{MANY}, {part}", "rank", identified.ranks)
        figures += figures_of(f"{MANY}, {part}", "TPIR@FPIR", identified.tpir)
    return figures
