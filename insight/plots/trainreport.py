"""Report of `insight plot-log` on training runs: plots, a CSV of all points, and a summary of the best checkpoints."""

from __future__ import annotations

import csv
import math
from typing import Iterable, List, Sequence

from ..errors import InsightError
from ..files import atomic
from ..runs.logfiles import read_logs
from ..runs.stepfigures import COLUMNS
from ..runs.trainlog import BestStep, TargetCurves, TrainLog, figure_names
from . import curves
from .picture import require
from .triplets import draw as draw_triplets


def plot_logs(paths: Iterable[str], picture: str, table: str = "", triplets: str = "") -> List[TrainLog]:
    """Read the logs of training runs, plot them, and optionally write a CSV.

    Parameters
    ----------
    paths : iterable of str
        The logs.
    picture : str
        The plot of all runs, .png or .svg.
    table : str
        The CSV (:func:`write_csv`); if empty, none is written.
    triplets : str
        The plot of the mined triplets of a single run, .png or .svg; if empty, none is drawn.

    Returns
    -------
    list of TrainLog

    Raises
    ------
    InsightError
        A file is not a log, a suffix is neither .png nor .svg, matplotlib is not installed, an output cannot be written
        or would replace a log or another output, or ``triplets`` is given with several logs or a log without triplets.
    """
    paths = list(paths)
    require(picture)
    atomic.check_output(picture, "--output", paths)
    if table:
        atomic.check_output(table, "--csv", [*paths, picture])
    if triplets:
        require(triplets, "--triplets")
        atomic.check_output(triplets, "--triplets", [*paths, picture, *([table] if table else [])])
        if len(paths) > 1:
            raise InsightError(f"--triplets {triplets}: draws one run, and there are {len(paths)} logs; name one")
    runs = read_logs(paths)
    if triplets:
        draw_triplets(runs[0], triplets)
    curves.draw(runs, picture)
    if table:
        write_csv(runs, table)
    return runs


def write_csv(runs: Sequence[TrainLog], path) -> None:
    """Write a CSV with one row per run and step.

    The columns are ``run``, ``step``, one per curve, and ``saved`` (number of the checkpoint). A field is empty if the
    log has no entry for that step, and ``nan`` if the entry is not a number.
    """
    names = [*figure_names(runs), *(name for name in COLUMNS if any(name in run.curves for run in runs))]
    targets = list(dict.fromkeys(target for run in runs for target in run.targets))
    columns = [f"{target} {field}" for target in targets for field in TargetCurves._fields]
    heading = ["run", "step", *names, *columns, "saved"]
    with atomic.write_beside(path, "w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(heading)
        for run in runs:
            curves_by_column = dict(run.curves)
            for target, figures in run.targets.items():
                curves_by_column.update({f"{target} {name}": curve for name, curve in figures._asdict().items()})
            curves_by_column["saved"] = run.saved
            for step in sorted({step for curve in curves_by_column.values() for step in curve.steps}):
                row = {name: _text(curve, step) for name, curve in curves_by_column.items()}
                writer.writerow([run.label, step, *(row.get(name, "") for name in heading[2:])])


def _text(curve, step: int) -> str:
    value = curve.at(step)
    return "" if math.isnan(value) and step not in curve else f"{value:.10g}"


def summary(runs: Sequence[TrainLog]) -> str:
    """Lines of text with the best accuracy on each target and the best checkpoint of each run."""
    lines = []
    for run in runs:
        lines.append(f"{run.label}: {run.last_step()} steps")
        width = max(map(len, run.targets), default=0)
        for name, target in run.targets.items():
            best = run.best_of(name)
            std = target.std.at(best.step)
            spread = "" if math.isnan(std) else f"+-{std:.5f}"
            lines.append(f"  {name:<{width}}  {best.accuracies[name]:.5f}{spread} at step {best.step}, {_number(best)}")
        best = run.best()
        if best is None:
            lines.append("  best checkpoint: unknown, the log has no verification")
        else:
            figures = ", ".join(f"{name} {accuracy:.5f}" for name, accuracy in best.accuracies.items())
            lines.append(f"  best checkpoint: {_number(best)}, step {best.step}, {figures}")
    return "\n".join(lines)


def _number(best: BestStep) -> str:
    return "no checkpoint in the log" if best.number is None else f"number {best.number}"
