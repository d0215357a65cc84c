"""Charts of a report page, with headings and captions."""

from __future__ import annotations

from typing import List, NamedTuple, Sequence, Tuple

import numpy as np

from ..plots import curves, rates, scores
from ..plots.inline import svg
from ..plots.style import plain_axes
from ..runs.trainlog import TrainLog
from ..verify import bootstrap, lines, roc
from ..verify.figures import Figures
from ..verify.verification import Verification

MOST_POINTS = 160  # points of a curve over FAR; up to about 30 false accepts, each number has a point
THRESHOLDS = 240  # points of a curve over the threshold


class Chart(NamedTuple):
    """A chart: heading, SVG, and caption."""

    title: str
    svg: str
    caption: str


def of_target(name: str, result: Verification, figures: Figures) -> List[Chart]:
    """Draw the ROC, the DET curve, the histogram of scores, and the rates over the threshold of one target.

    ``name`` is the prefix of the ids in the SVGs.
    """
    over = _rates(result, figures)
    pairs = f"{figures.same} same and {figures.different} different pairs of {result.name}"
    band = "; the band is the pointwise 95 % interval" if over.low_G is not None else ""
    point = figures.at_best_accuracy
    marks = [("best accuracy", point.cosine)]
    marks += [(f"FAR {lines.power(far)}", at.cosine) for far, at in figures.at_far.items() if at]
    cosine_P = 1 - result.distances / 2
    histogram = scores.spread(cosine_P[result.issame], cosine_P[~result.issame], marks)
    drawn = [
        ("ROC", rates.roc(over), f"TAR over FAR, from one false accept in {figures.different}{band}."),
        ("DET", rates.det(over), f"FRR = 1 - TAR over FAR{band}. On the bottom line no same pair is rejected."),
        ("Scores", histogram, "Pairs by cosine, on a logarithmic axis, with the thresholds of the table."),
        ("Rates over the threshold", _over_threshold(result, figures), "FAR and FRR; on the bottom line they are 0."),
    ]
    return [
        Chart(title, svg(figure, f"{name}-{index}", f"{title} of {pairs}"), caption)
        for index, (title, figure, caption) in enumerate(drawn)
    ]


def _rates(result: Verification, figures: Figures) -> rates.RatesOver:
    """TAR at the FARs of 1, 2, 3 … false accepts, thinned out at large FARs."""
    count_G = np.unique(np.round(np.geomspace(1, figures.different, MOST_POINTS)).astype(np.int64))
    far_G = count_G / figures.different
    curve = roc.roc_curve(result.distances, result.issame)
    low_G = high_G = None
    intervals = figures.intervals
    if intervals and intervals.auc:
        low_G, high_G = bootstrap.tar_band(curve, far_G, result.identities, intervals.resamples, intervals.seed)
    return rates.RatesOver(far_G, roc.tar_at(curve, far_G), low_G, high_G, figures.same, figures.different)


def _over_threshold(result: Verification, figures: Figures):
    cosine_P = 1 - result.distances / 2
    cosine_T = np.linspace(cosine_P.min() - 0.01, cosine_P.max() + 0.01, THRESHOLDS)
    different, same = np.sort(cosine_P[~result.issame]), np.sort(cosine_P[result.issame])
    far_T = 1 - np.searchsorted(different, cosine_T, side="right") / figures.different
    frr_T = np.searchsorted(same, cosine_T, side="right") / figures.same
    return rates.over_threshold(cosine_T, far_T, frr_T, 0.5 / max(figures.same, figures.different))


def of_training(runs: Sequence[TrainLog]) -> List[Chart]:
    """Draw one chart for each quantity in the logs of training runs."""
    colours = curves.run_colours(len(runs))
    charts = []
    for number, panel in enumerate(curves.panels(runs)):
        figure, axes = plain_axes()
        curves.draw_panel(axes, panel, runs, colours)
        axes.set_title("", loc="left")  # the page has the heading
        title = panel.title[0].upper() + panel.title[1:]
        charts.append(Chart(title, svg(figure, f"training-{number}", f"{title} over steps"), ""))
    return charts


def run_legend(runs: Sequence[TrainLog]) -> List[Tuple[str, str]]:
    """CSS colour and label of each run."""
    from matplotlib.colors import to_hex

    return [(to_hex(colour), run.label) for colour, run in zip(curves.run_colours(len(runs)), runs)]
