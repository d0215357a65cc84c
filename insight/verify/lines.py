"""Format verification metrics as text and as JSON."""

from __future__ import annotations

import json
from typing import List, NamedTuple, Optional

import numpy as np

from ..files import atomic
from .bootstrap import LEVEL, Interval
from .figures import Figures
from .folds import fold_slices
from .roc import OperatingPoint
from .verification import Verification

COLUMNS = ("", "95 % interval", "cosine >", "squared L2 <", "FAR", "TAR", "false accepts")
_ROW = "{:<16} {:>8} {:>17} {:>9} {:>13} {:>9} {:>9} {:>15}"


class FigureRow(NamedTuple):
    """A row of the table: a metric, its interval, and the threshold at which it is measured."""

    what: str
    value: float = np.nan
    interval: Optional[Interval] = None
    point: Optional[OperatingPoint] = None
    needed: int = 0  # number of different pairs needed, if the set has too few; 0 if the metric is measurable


def text(result: Verification, figures: Figures) -> List[str]:
    """Lines as InsightFace prints them, then a table whose lines start with ``[name]``."""
    head = [
        f"({2 * result.pairs}, {result.embedding_size})",
        f"infer time {result.seconds:f}",
        f"[{result.name}]XNorm: {result.xnorm:f}",
        f"[{result.name}]Accuracy-Flip: {result.folds.accuracy:1.5f}+-{result.folds.std:1.5f}",
    ]
    table = [_ROW.format("", *COLUMNS), *(_line(row, figures.different) for row in rows(result, figures))]
    return head + [f"[{result.name}]{line}".rstrip() for line in (*about(result, figures), *table)]


def about(result: Verification, figures: Figures) -> List[str]:
    """Lines that describe what the metrics are based on: pairs, folds, resamples."""
    folds = len(result.folds.per_fold)
    lines = [
        f"Pairs: {result.pairs} ({figures.same} same, {figures.different} different), {result.images} distinct images",
        "Accuracy per fold: " + " ".join(f"{value:.5f}" for value in result.folds.per_fold),
    ]
    if folds == result.pairs:
        lines.append(f"Folds: {folds} of one pair each; the set has too few pairs for longer ones")
    one_kind = sum(len(set(result.issame[part].tolist())) == 1 for part in fold_slices(result.pairs, folds))
    if one_kind and folds < result.pairs:
        lines.append(f"Folds: {one_kind} of {folds} have one kind of pairs only, so the deviation means little")
    if figures.intervals:
        drawn = figures.intervals
        lines.append(f"Intervals: 95 %, {drawn.resamples} bootstrap resamples over {drawn.over}, seed {drawn.seed}")
    return lines


def rows(result: Verification, figures: Figures) -> List[FigureRow]:
    """The rows of the table: accuracies, AUC, EER, and TAR at each FAR."""
    between = figures.intervals
    best, eer = figures.at_best_accuracy, figures.at_eer
    fixed = [
        FigureRow("accuracy, folds", result.folds.accuracy, between and between.accuracy),
        FigureRow("accuracy, best", best.accuracy, None, best),
        FigureRow("AUC", figures.auc, between and between.auc),
        FigureRow("EER", figures.eer, between and between.eer, eer),
    ]
    return fixed + [
        FigureRow(f"TAR at FAR {power(far)}", point.tar, between and between.tar[far], point)
        if point
        else FigureRow(f"TAR at FAR {power(far)}", needed=round(1 / far))
        for far, point in figures.at_far.items()
    ]


def cells(row: FigureRow, different: int) -> List[str]:
    """The seven fields of a measurable row, in the order of :data:`COLUMNS`; empty where the row has no value."""
    interval = f"{row.interval.low:.5f}-{row.interval.high:.5f}" if row.interval else ""
    point, fields = row.point, [""] * 5
    if point:
        accepts = f"{point.false_accepts} of {different}"
        fields = [decimal(point.cosine), decimal(point.squared_l2), f"{point.far:.3g}", f"{point.tar:.5f}", accepts]
    return [f"{row.value:.5f}", interval, *fields]


def not_measurable(row: FigureRow, different: int) -> str:
    """Text that replaces the fields of a row that is not measurable."""
    return f"not measurable: {different} different pairs, {row.needed} are needed"


def _line(row: FigureRow, different: int) -> str:
    if row.needed:
        return f"{row.what:<16} {not_measurable(row, different)}"
    return _ROW.format(row.what, *cells(row, different))


def decimal(value: float) -> str:
    """A threshold with at least four decimals and all its digits, so that parsing the text gives the same number."""
    return np.format_float_positional(value, min_digits=4)


def power(far: float) -> str:
    """A FAR as a power of ten: ``1e-3``."""
    return f"1e-{round(-np.log10(far))}"


def record(result: Verification, figures: Figures, model: str, evaluated_by: str) -> dict:
    """One result as a JSON value: rates, thresholds, intervals, folds, the model, and the runtime that evaluated it."""
    drawn = figures.intervals
    record = {
        "target": result.name,
        "model": model,
        "evaluated_by": evaluated_by,
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
        "at_far": {power(far): point and point._asdict() for far, point in figures.at_far.items()},
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
            "tar_at_far": {power(far): ends for far, ends in drawn.tar.items()},
        }
    return record


def write_json(path, model: str, records: List[dict]) -> None:
    """Write ``{"model": ..., "results": [...]}``, with one result for each model and target."""
    atomic.write_text(path, json.dumps({"model": model, "results": records}, indent=1) + "\n")
