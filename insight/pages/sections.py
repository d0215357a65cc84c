"""Sections of a report for targets and for training: text, rows, charts and pictures for the templates."""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..images.pixels import decode_bgr, encode_bgr, fit
from ..runs.trainlog import TrainLog
from ..verify import lines
from ..verify.figures import Figures
from ..verify.hardest import HardPair, hardest_pairs
from ..verify.verification import EvalSet, Verification
from . import charts
from .changes import ChangeSection
from .charts import Chart
from .htmlpage import data_uri

LARGEST_PICTURE = 24 << 10  # bytes; larger images are encoded again as JPEG
JPEG_QUALITY = 90


class Fact(NamedTuple):
    """A name and a value, as text."""

    name: str
    value: str


class TableRow(NamedTuple):
    """A row of a table with :data:`insight.verify.lines.COLUMNS`: its fields, or the reason why it has none."""

    what: str
    cells: List[str]
    missing: str


class Picture(NamedTuple):
    """An image as a data URI, and its name in the verification set."""

    uri: str
    name: str


class Tile(NamedTuple):
    """A pair: its cosine, its two images, and whether the decision at the threshold is wrong."""

    cosine: str
    pictures: List[Picture]
    wrong: bool


class Tiles(NamedTuple):
    """Pairs of one kind, the hardest first. ``error`` names a wrong decision: false accept or false reject."""

    heading: str
    error: str
    summary: str
    tiles: List[Tile]


class TargetSection(NamedTuple):
    """All results of the model on one verification set."""

    id: str
    name: str
    verdict: str
    facts: List[Fact]
    notes: List[str]
    rows: List[TableRow]
    charts: List[Chart]
    hardest: List[Tiles]
    limits: List[str]
    changes: Optional[ChangeSection] = None


class TrainingSection(NamedTuple):
    """Curves of training runs, and a summary of the best checkpoint of each."""

    runs: List[Tuple[str, str]]  # CSS colour and label
    summary: str
    charts: List[Chart]


def target_section(
    number: int,
    eval_set: EvalSet,
    result: Verification,
    figures: Figures,
    image_size: Tuple[int, int],
    hardest: int,
    changes: Optional[ChangeSection] = None,
) -> TargetSection:
    """Make the section of the ``number``-th set, with up to ``hardest`` pairs of each kind."""
    name = f"target-{number}"
    table = [
        TableRow(row.what, [], lines.not_measurable(row, figures.different))
        if row.needed
        else TableRow(row.what, lines.cells(row, figures.different), "")
        for row in lines.rows(result, figures)
    ]
    return TargetSection(
        name,
        result.name,
        _verdict(result, figures),
        _target_facts(result, figures),
        lines.about(result, figures)[1:],  # without the line about pairs, which are in the facts
        table,
        charts.of_target(name, result, figures),
        _hardest(eval_set, result, figures, image_size, hardest) if hardest else [],
        _limits(result, figures),
        changes,
    )


def training_section(runs: Sequence[TrainLog]) -> TrainingSection:
    """Make the section of training runs, with one chart per quantity."""
    from ..plots.trainreport import summary

    return TrainingSection(charts.run_legend(runs), summary(runs), charts.of_training(runs))


def _lowest(figures: Figures) -> Optional[float]:
    """The lowest FAR that is measurable on the set."""
    return min((far for far, point in figures.at_far.items() if point), default=None)


def _verdict(result: Verification, figures: Figures) -> str:
    folds = len(result.folds.per_fold)
    accuracy = f"accuracy {result.folds.accuracy:.5f} ± {result.folds.std:.5f} over {folds} folds"
    far = _lowest(figures)
    if far is None:
        return f"{accuracy}; no TAR at a FAR: {figures.different} impostor pairs are too few"
    tar = figures.at_far[far].tar
    return f"{accuracy}; TAR {tar:.5f} at FAR {lines.power(far)}, by {figures.different} impostor pairs"


def _target_facts(result: Verification, figures: Figures) -> List[Fact]:
    return [
        Fact("Accuracy over folds", f"{result.folds.accuracy:.5f}"),
        Fact("Deviation over folds", f"{result.folds.std:.5f}"),
        Fact("Same pairs", str(figures.same)),
        Fact("Impostor pairs", str(figures.different)),
        Fact("Distinct images", str(result.images)),
        Fact("AUC", f"{figures.auc:.5f}"),
        Fact("EER", f"{figures.eer:.5f}"),
        Fact("XNorm", f"{result.xnorm:.4f}"),
        Fact("Decoding and network", f"{result.seconds:.1f} s"),
    ]


def _hardest(
    eval_set: EvalSet, result: Verification, figures: Figures, size: Tuple[int, int], count: int
) -> List[Tiles]:
    point = figures.at_best_accuracy
    different, same = hardest_pairs(result, point.squared_l2, count)
    rejects = round((1 - point.tar) * figures.same)
    where = f"at cosine {lines.decimal(point.cosine)}, the threshold of best accuracy"

    def tiles(pairs: List[HardPair], wrong: bool) -> List[Tile]:
        return [_tile(eval_set, pair, pair.accepted is wrong, size) for pair in pairs]

    return [
        Tiles(
            "Most similar pairs of different people",
            "false accept",
            f"{point.false_accepts} of {figures.different} are accepted {where}.",
            tiles(different, True),
        ),
        Tiles(
            "Least similar pairs of one person",
            "false reject",
            f"{rejects} of {figures.same} are rejected {where}.",
            tiles(same, False),
        ),
    ]


def _tile(eval_set: EvalSet, pair: HardPair, wrong: bool, size: Tuple[int, int]) -> Tile:
    images = eval_set.pairs[pair.pair].tolist()
    source = eval_set.source
    pictures = [Picture(_picture(source.read(i), source.name(i), size), source.short_name(i)) for i in images]
    return Tile(f"{pair.cosine:.4f}", pictures, wrong)


def _picture(data: bytes, name: str, size: Tuple[int, int]) -> str:
    uri = data_uri(data) if len(data) <= LARGEST_PICTURE else None
    return uri or str(data_uri(encode_bgr(fit(decode_bgr(data, name), size), ".jpg", JPEG_QUALITY)))


def _limits(result: Verification, figures: Figures) -> List[str]:
    limits = [f"{result.name}: {figures.different} impostor pairs measure no FAR below 1 in {figures.different}."]
    far = _lowest(figures)
    if far is not None:
        accepts = figures.at_far[far].false_accepts
        limits[0] += (
            f" The threshold for FAR {lines.power(far)} is based on {accepts} false accept{'s'[: accepts != 1]}."
        )
    intervals = figures.intervals
    if intervals and intervals.accuracy:
        low, high = intervals.accuracy
        limits.append(
            f"{result.name}: the accuracy's 95 % interval is {low:.5f}-{high:.5f}, by resamples over {intervals.over}."
        )
        if intervals.over == "pairs":
            limits.append(
                f"{result.name}: the identities in the pairs are not known. Pairs that share a person are not "
                "independent, so the intervals are too narrow."
            )
    if figures.at_best_accuracy.accuracy == 1 and np.ptp(result.folds.per_fold) == 0:
        limits.append(f"{result.name}: all decisions are correct, so the set does not show where the model fails.")
    return limits
