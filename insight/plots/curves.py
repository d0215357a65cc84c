"""Plot the curves of training runs, with one panel per quantity."""

from __future__ import annotations

from typing import List, NamedTuple, Sequence, Tuple

import numpy as np

from ..errors import InsightError
from ..runs.stepfigures import CLASSIFICATION
from ..runs.trainlog import Curve, TrainLog, figure_names
from .picture import save

MOST_POINTS = 200  # points of a curve; a longer one is drawn as the means and ranges of 200 parts, to keep SVGs small
_LABELLED_RUNS = 8  # with more runs, the legend of a panel would be larger than its curves
_ACCURACY = ("acc", "acc_free")
_RATE = ("lr",)


class Panel(NamedTuple):
    """A panel: a title, and either the names of its curves (the second is dashed) or a verification target."""

    title: str
    names: Tuple[str, ...] = ()
    target: str = ""

    def curves(self, run: TrainLog) -> List[Curve]:
        """The curves of a run. A curve that the run does not have is empty."""
        if self.target:
            return [run.targets[self.target].accuracy] if self.target in run.targets else []
        return [run.curves.get(name, Curve()) for name in self.names]


def panels(runs: Sequence[TrainLog]) -> List[Panel]:
    """The panels for which the runs have data.

    Their order is training loss, training accuracy, other figures of the objective, learning rate, and one panel for
    the verification accuracy on each target.
    """
    others = [name for name in figure_names(runs) if name not in CLASSIFICATION]
    targets = dict.fromkeys(target for run in runs for target in run.targets)
    candidates = [
        Panel("training loss", ("loss",)),
        Panel("training accuracy", _ACCURACY),
        *(Panel(f"training {name}", (name,)) for name in others),
        Panel("learning rate", _RATE),
        *(Panel(f"verification accuracy: {target}", target=target) for target in targets),
    ]
    return [panel for panel in candidates if any(len(curve) for run in runs for curve in panel.curves(run))]


def draw(runs: Sequence[TrainLog], path) -> None:
    """Plot all runs in one file, as PNG or SVG depending on the suffix of ``path``.

    Raises
    ------
    InsightError
        The logs contain nothing to draw.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    drawn = panels(runs)
    if not drawn:
        names = ", ".join(run.label for run in runs)
        raise InsightError(f"{names}: nothing to draw; want a log with figures, learning rates or verifications")
    columns = 1 if len(drawn) == 1 else 2 if len(drawn) <= 4 else 3
    rows = -(-len(drawn) // columns)
    style = {"font.size": 9, "axes.titlesize": 10, "legend.fontsize": 8}
    with rc_context(style):
        figure = Figure(figsize=(1.2 + 4.6 * columns, 0.5 + 3.1 * rows), layout="constrained")
        all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
        colours = run_colours(len(runs))
        for axes, panel in zip(all_axes, drawn):
            draw_panel(axes, panel, runs, colours)
        for axes in all_axes[len(drawn) :]:
            axes.set_visible(False)
        _name_runs(figure, runs, colours)
        save(figure, path, dpi=130)


def run_colours(count: int) -> list:
    """One matplotlib colour (RGBA) per run."""
    from matplotlib import colormaps

    if count <= 10:
        return [colormaps["tab10"](i) for i in range(count)]
    return [colormaps["turbo"](x) for x in np.linspace(0.05, 0.95, count)]


def _name_runs(figure, runs: Sequence[TrainLog], colours: list) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, linewidth=2.5) for colour in colours]
    widest = max(len(run.label) for run in runs)
    columns = max(1, min(len(runs), 110 // (widest + 6)))
    numbers = [str(number) for number in range(len(runs))]
    legend = figure.legend(handles, numbers, loc="outside upper center", ncols=columns, frameon=False)
    for text, run in zip(legend.get_texts(), runs):  # set later, because a legend skips labels that start with _
        text.set_parse_math(False)
        text.set_text(run.label)


def draw_panel(axes, panel: Panel, runs: Sequence[TrainLog], colours: list) -> None:
    """Draw one panel with the curves of all runs on matplotlib axes."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    axes.set_title(panel.title, loc="left", parse_math=False)
    axes.set_xlabel("step")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    last = max(1, *(run.last_step() for run in runs))
    axes.set_xlim(-0.02 * last, 1.03 * last)  # the same in all panels
    axes.grid(True, linewidth=0.5, alpha=0.35)
    axes.spines[["top", "right"]].set_visible(False)
    for run, colour in zip(runs, colours):
        for curve, line in zip(panel.curves(run), ("-", "--")):
            if len(curve):
                _draw_curve(axes, curve, colour, line, marked=bool(panel.target))
        if panel.target in run.targets:
            _mark_best(axes, run, panel.target, colour)
    if panel.target:
        _name_best(axes, runs, panel.target)
    elif panel.names == _RATE:
        _scale_rate(axes, runs)
    elif panel.names == _ACCURACY and any("acc_free" in run.curves for run in runs):
        _name_margins(axes)


def _draw_curve(axes, curve: Curve, colour, line: str, marked: bool) -> None:
    """Draw a curve. A long one is drawn as the means of equal parts, with a band from their lowest to highest value."""
    steps, values = curve.arrays()
    values[~np.isfinite(values)] = np.nan  # drawn as a gap
    if len(steps) > MOST_POINTS:
        parts = [part for part in np.array_split(np.arange(len(steps)), MOST_POINTS) if np.isfinite(values[part]).any()]
        low, high = ([edge(values[part]) for part in parts] for edge in (np.nanmin, np.nanmax))
        steps = np.array([steps[part].mean() for part in parts])
        values = np.array([np.nanmean(values[part]) for part in parts])
        axes.fill_between(steps, low, high, color=colour, alpha=0.18, linewidth=0)
    marker = "." if marked or len(steps) == 1 else ""
    axes.plot(steps, values, line, color=colour, linewidth=1.5, marker=marker, alpha=0.9 if line == "-" else 0.7)


def _mark_best(axes, run: TrainLog, target: str, colour) -> None:
    best = run.best_of(target)
    axes.plot([best.step], [best.accuracies[target]], "o", color=colour, markersize=8, fillstyle="none")


def _name_best(axes, runs: Sequence[TrainLog], target: str) -> None:
    """Add a legend with the best accuracy of each run, whose points are marked by circles."""
    bests = [run.best_of(target) for run in runs if target in run.targets]
    if len(bests) > _LABELLED_RUNS:
        return
    circles = [line for line in axes.get_lines() if line.get_fillstyle() == "none"]
    names = [f"{best.accuracies[target]:.5f} at step {best.step}" for best in bests]
    axes.legend(circles, names, loc="best", framealpha=0.75)


def _name_margins(axes) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color="0.3", linestyle=line) for line in ("-", "--")]
    axes.legend(lines, ["with the margin", "without"], loc="best", framealpha=0.75)


def _scale_rate(axes, runs: Sequence[TrainLog]) -> None:
    """Use a logarithmic axis if the learning rate is always positive and varies by a factor of 20 to 1e5."""
    values = np.concatenate([run.curves["lr"].arrays()[1] for run in runs if "lr" in run.curves])
    if np.isfinite(values).all() and values.min() > 0 and 20 < values.max() / values.min() <= 1e5:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
