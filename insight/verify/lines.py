"""Figures as text and as JSON."""

from __future__ import annotations

import json
from typing import Iterator, List, Optional

import numpy as np

from ..formats import atomic
from .bootstrap import LEVEL, Interval
from .figures import Figures
from .folds import fold_slices
from .roc import OperatingPoint
from .verification import Verification

_ROW = "{:<16} {:>8} {:>17} {:>9} {:>13} {:>9} {:>9} {:>15}"


def text(result: Verification, figures: Figures) -> List[str]:
    """InsightFace's lines, then a table; each line of it begins with ``[name]``."""
    head = [
        f"({2 * result.pairs}, {result.embedding_size})",
        f"infer time {result.seconds:f}",
        f"[{result.name}]XNorm: {result.xnorm:f}",
        f"[{result.name}]Accuracy-Flip: {result.folds.accuracy:1.5f}+-{result.folds.std:1.5f}",
    ]
    return head + [f"[{result.name}]{line}".rstrip() for line in (*_about(result, figures), *_table(result, figures))]


def _about(result: Verification, figures: Figures) -> List[str]:
    folds = len(result.folds.per_fold)
    lines = [
        f"Pairs: {result.pairs} ({figures.same} same, {figures.different} different), {result.images} distinct images",
        "Accuracy per fold: " + " ".join(f"{value:.5f}" for value in result.folds.per_fold),
    ]
    if folds == result.pairs:
        lines.append(f"Folds: {folds} of one pair each; the set has no pairs for longer ones")
    one_kind = sum(len(set(result.issame[part].tolist())) == 1 for part in fold_slices(result.pairs, folds))
    if one_kind and folds < result.pairs:
        lines.append(f"Folds: {one_kind} of {folds} hold one kind of pairs only, so the deviation says little")
    if figures.intervals:
        drawn = figures.intervals
        lines.append(f"Intervals: 95 %, {drawn.resamples} bootstrap resamples over {drawn.over}, seed {drawn.seed}")
    return lines


def _table(result: Verification, figures: Figures) -> Iterator[str]:
    between = figures.intervals
    yield _ROW.format("", "", "95 % interval", "cosine >", "squared L2 <", "FAR", "TAR", "false accepts")
    yield _row("accuracy, folds", result.folds.accuracy, between and between.accuracy)
    point = figures.at_best_accuracy
    yield _row("accuracy, best", point.accuracy, None, point, figures.different)
    yield _row("AUC", figures.auc, between and between.auc)
    yield _row("EER", figures.eer, between and between.eer, figures.at_eer, figures.different)
    for far, point in figures.at_far.items():
        what = f"TAR at FAR {_power(far)}"
        if point is None:
            needed = round(1 / far)
            yield f"{what:<16} not measurable: {figures.different} different pairs, {needed} are needed"
        else:
            yield _row(what, point.tar, between and between.tar[far], point, figures.different)


def _row(
    what: str, value: float, between: Optional[Interval], point: Optional[OperatingPoint] = None, different: int = 0
) -> str:
    interval = f"{between.low:.5f}-{between.high:.5f}" if between else ""
    cells = [""] * 5
    if point:
        accepts = f"{point.false_accepts} of {different}"
        cells = [_decimal(point.cosine), _decimal(point.squared_l2), f"{point.far:.3g}", f"{point.tar:.5f}", accepts]
    return _ROW.format(what, f"{value:.5f}", interval, *cells)


def _decimal(value: float) -> str:
    """All digits of a threshold: it says the same as the number itself."""
    return np.format_float_positional(value, min_digits=4)


def _power(far: float) -> str:
    return f"1e-{round(-np.log10(far))}"


def record(result: Verification, figures: Figures, model: str) -> dict:
    """Everything, for JSON: rates, thresholds, intervals, folds."""
    drawn = figures.intervals
    record = {
        "target": result.name,
        "model": model,
        "pairs": result.pairs,
        "same_pairs": figures.same,
        "different_pairs": figures.different,
        "distinct_images": result.images,
        "embedding_size": result.embedding_size,
        "seconds": result.seconds,
        "accuracy": result.folds.accuracy,
        "std": result.folds.std,
        "per_fold": result.folds.per_fold.tolist(),
        "thresholds_squared_l2": result.folds.thresholds.tolist(),
        "xnorm": result.xnorm,
        "auc": figures.auc,
        "eer": figures.eer,
        "at_eer": figures.at_eer._asdict(),
        "at_best_accuracy": figures.at_best_accuracy._asdict(),
        "at_far": {_power(far): point and point._asdict() for far, point in figures.at_far.items()},
    }
    if drawn:
        record["intervals"] = {
            "level": LEVEL,
            "over": drawn.over,
            "resamples": drawn.resamples,
            "seed": drawn.seed,
            "accuracy": drawn.accuracy,
            "eer": drawn.eer,
            "auc": drawn.auc,
            "tar_at_far": {_power(far): ends for far, ends in drawn.tar.items()},
        }
    return record


def write_json(path, model: str, records: List[dict]) -> None:
    """``{"model": ..., "results": [...]}``, one result for each model and target."""
    atomic.write_text(path, json.dumps({"model": model, "results": records}, indent=1) + "\n")
