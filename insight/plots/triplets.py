"""Plot the distances of mined triplets, and the band of semi-hard negatives. Requires matplotlib."""

from __future__ import annotations

from typing import List, Tuple

import numpy as np

from ..errors import InsightError
from ..runs.stepfigures import Histogram
from ..runs.trainlog import TrainLog
from .picture import save
from .style import FAINT, FONT_SIZE, INK, MAIN, OTHER

NAMES = ("positives", "negatives", "gaps")  # histograms in the log of train-triplet
_ROOM = 0.04  # margin on either side of the values, relative to their range


def draw(run: TrainLog, path) -> None:
    """Plot the triplets of the first and the last logged interval of a run, as PNG or SVG depending on the suffix.

    The upper row shows the squared distances of positives and negatives from their anchors (unit embeddings, 0 to 4).
    The lower row shows their differences, with the band from 0 to alpha of semi-hard negatives. To the left of the
    band, the negative is nearer than the positive; to the right, the triplet has no loss.

    Raises
    ------
    InsightError
        The log contains no triplets.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    parts = _parts(run)
    with rc_context({"font.size": FONT_SIZE, "axes.edgecolor": FAINT}):
        figure = Figure(figsize=(0.6 + 4.6 * len(parts), 5.6), layout="constrained")
        rows = figure.subplots(2, len(parts), squeeze=False, sharex="row", sharey="row")
        for column, (title, histograms) in enumerate(parts):
            positives, negatives, gaps = histograms
            _draw_distances(rows[0, column], title, positives, negatives)
            _draw_gaps(rows[1, column], gaps, _alpha(run))
        distances = [histogram for _, histograms in parts for histogram in histograms[:2]]
        rows[0, 0].set_xlim(_limits(distances))
        low, high = _limits([histograms[2] for _, histograms in parts])
        rows[1, 0].set_xlim(min(low, -_alpha(run) / 2), max(high, 1.5 * _alpha(run)))
        for axes in rows[:, 0]:
            axes.set_ylabel("share of triplets")
            if axes.get_legend_handles_labels()[0]:
                axes.legend(loc="upper left", frameon=False)
        save(figure, path, dpi=130)


def _parts(run: TrainLog) -> List[Tuple[str, Tuple[Histogram, ...]]]:
    """(title, histograms) of the first and the last logged interval with triplets; only one if they are the same."""
    entries = [run.histograms.get(name, []) for name in NAMES]
    steps = [step for step, histogram in entries[0] if sum(histogram.counts)]
    if not steps or any(len(entry) != len(entries[0]) for entry in entries):
        raise InsightError(f"{run.label}: has no triplets to draw; want the log of train-triplet, after a verification")
    begins = {step: before for before, (step, _) in zip([0, *(step for step, _ in entries[0])], entries[0])}
    parts = []
    for step in dict.fromkeys((steps[0], steps[-1])):
        histograms = tuple(dict(entry)[step] for entry in entries)
        parts.append((f"steps {begins[step] + 1} to {step}: {sum(histograms[0].counts)} triplets", histograms))
    return parts


def _alpha(run: TrainLog) -> float:
    """The margin in squared distance; 0 if it is not in the log, or if the distance is an angle."""
    if run.options.get("triplet_distance", "euclid") != "euclid":
        return 0.0
    return float(run.options.get("triplet_alpha") or 0.0)


def _draw_distances(axes, title: str, positives: Histogram, negatives: Histogram) -> None:
    axes.set_title(title, loc="left")
    for histogram, colour, name in ((positives, MAIN, "positives"), (negatives, OTHER, "negatives")):
        axes.stairs(_shares(histogram), _edges(histogram), color=colour, fill=True, alpha=0.55, label=name)
    axes.set_xlabel("squared distance from the anchor")
    _plain(axes)


def _draw_gaps(axes, gaps: Histogram, alpha: float) -> None:
    shares, edges = _shares(gaps), _edges(gaps)
    axes.stairs(shares, edges, color=INK, fill=True, alpha=0.55)
    axes.axvline(0, color=INK, linewidth=0.8)
    if alpha:
        inside = float(shares[(edges[:-1] > -1e-9) & (edges[1:] < alpha + 1e-9)].sum())
        label = f"semi-hard: 0 to {alpha:g}"
        axes.axvspan(0, alpha, color=MAIN, alpha=0.15, linewidth=0, label=label)
        axes.set_title(f"{100 * inside:.0f} % semi-hard", loc="right")
    axes.set_xlabel("negative further than positive by, squared distance")
    _plain(axes)


def _plain(axes) -> None:
    axes.grid(True, linewidth=0.5, alpha=0.35)
    axes.spines[["top", "right"]].set_visible(False)


def _shares(histogram: Histogram) -> np.ndarray:
    counts = np.array(histogram.counts, np.float64)
    return counts / max(1.0, counts.sum())


def _edges(histogram: Histogram) -> np.ndarray:
    return np.linspace(histogram.low, histogram.high, len(histogram.counts) + 1)


def _limits(histograms: List[Histogram]) -> Tuple[float, float]:
    """The range of the non-empty bins, with a margin."""
    filled = [(_edges(histogram), np.flatnonzero(histogram.counts)) for histogram in histograms]
    low = min(edges[bins[0]] for edges, bins in filled if len(bins))
    high = max(edges[bins[-1] + 1] for edges, bins in filled if len(bins))
    room = _ROOM * (high - low)
    return low - room, high + room
