"""A training run as curves over its steps, which :mod:`.logfiles` reads from logs.

If a step is not larger than the previous one, the run was restarted or resumed under the same name. Earlier values
from that step on are then replaced.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import printable
from .jsonl import AVERAGES
from .stepfigures import CLASSIFICATION, COLUMNS, Histogram, is_name


class Curve:
    """Values over ascending steps."""

    def __init__(self) -> None:
        self.steps: List[int] = []
        self.values: List[float] = []

    def __len__(self) -> int:
        return len(self.steps)

    def add(self, step: int, value: Optional[float]) -> None:
        """Append a point, after removing all points from its step on. None becomes NaN."""
        while self.steps and self.steps[-1] >= step:
            self.steps.pop()
            self.values.pop()
        self.steps.append(step)
        self.values.append(math.nan if value is None else float(value))

    def arrays(self) -> Tuple[np.ndarray, np.ndarray]:
        """Return steps, (N,) int64, and values, (N,) float64."""
        return np.array(self.steps, np.int64), np.array(self.values, np.float64)

    def __contains__(self, step: int) -> bool:
        return self._position(step) is not None

    def at(self, step: int) -> float:
        """Return the value at a step; NaN if there is none."""
        position = self._position(step)
        return math.nan if position is None else self.values[position]

    def _position(self, step: int) -> Optional[int]:
        position = bisect_left(self.steps, step)
        return position if position < len(self.steps) and self.steps[position] == step else None


class TargetCurves(NamedTuple):
    """Curves of one verification set: accuracy, its standard deviation over the folds, and mean norm of embeddings."""

    accuracy: Curve
    std: Curve
    xnorm: Curve


class BestStep(NamedTuple):
    """The best verification of a run: step, number of the checkpoint (None if not logged), and accuracies by target."""

    step: int
    number: Optional[int]
    accuracies: Dict[str, float]


class TrainLog:
    """The log of one run.

    Attributes
    ----------
    label : str
        Name of the run in plots and tables.
    curves : dict of str to Curve
        Figures of the objective, such as ``acc`` (with the margin) and ``acc_free`` (without); ``lr``; ``speed`` in
        images/s; ``wait``, the share of the time that training waited for data; ``cpu``, CPU time divided by wall
        time times threads.
    targets : dict of str to TargetCurves
        Curves of the verification sets, in the order of verification.
    saved : Curve
        Numbers of the checkpoints, at the steps at which they were saved.
    saved_averages : Curve
        The same for checkpoints of averaged weights, whose targets have names that end in ``-ema``.
    histograms : dict of str to list of (int, Histogram)
        Histograms by ascending step, each over the steps since the previous entry.
    options : dict
        Options of the run by name; empty if the log has none.
    """

    def __init__(self, label: str):
        self.label = printable(label)
        self.clear()

    def clear(self) -> None:
        """Remove all content, as another run begins."""
        self.curves: Dict[str, Curve] = {}
        self.targets: Dict[str, TargetCurves] = {}
        self.saved, self.saved_averages = Curve(), Curve()
        self.histograms: Dict[str, List[Tuple[int, Histogram]]] = {}
        self.options: dict = {}

    def add(self, name: str, step: int, value: Optional[float]) -> None:
        """Append a value to a curve. Names that are neither a figure nor a column are ignored."""
        if name in COLUMNS or is_name(name):
            self.curves.setdefault(name, Curve()).add(step, value)

    def add_histogram(self, name: str, step: int, histogram: Histogram) -> None:
        """Append a histogram, after removing all entries of that name from its step on."""
        earlier = [entry for entry in self.histograms.get(name, []) if entry[0] < step]
        self.histograms[name] = [*earlier, (step, histogram)]

    def target(self, name: str) -> TargetCurves:
        """Return the curves of a target; those of a new target are empty."""
        return self.targets.setdefault(name, TargetCurves(Curve(), Curve(), Curve()))

    def last_step(self) -> int:
        """Return the last step in the log."""
        curves = [*self.curves.values(), *(target.accuracy for target in self.targets.values())]
        return max(curve.steps[-1] for curve in curves if len(curve))

    def best_of(self, target: str) -> BestStep:
        """Return the step with the highest accuracy on one target. In case of ties, saved and then later steps win.

        Step 0, before training, is considered only if it was saved, or if there is no other step.
        """
        accuracy = self.targets[target].accuracy
        saved = self.saved_averages if target.endswith(AVERAGES) else self.saved
        steps = [step for step in accuracy.steps if step or step in saved] or accuracy.steps
        step = max(steps, key=lambda s: (_rank(accuracy.at(s)), not math.isnan(saved.at(s)), s))
        return self._best(step, [target], saved)

    def best(self) -> Optional[BestStep]:
        """Return the best step by the rule of train-softmax; None if no step has all targets.

        The accuracy on the last target decides, then the sum over all targets, then the later step. Targets of
        averaged weights are ignored.
        """
        names = [name for name in self.targets if not name.endswith(AVERAGES)]
        common = set.intersection(*(set(self.targets[name].accuracy.steps) for name in names)) if names else set()
        steps = [step for step in common if step or step in self.saved] or list(common)
        if not steps:
            return None

        def score(step: int) -> tuple:
            values = [_rank(self.targets[name].accuracy.at(step)) for name in names]
            return values[-1], sum(values), step

        return self._best(max(steps, key=score), names, self.saved)

    def _best(self, step: int, names: Iterable[str], saved: Curve) -> BestStep:
        number = saved.at(step)
        accuracies = {name: self.targets[name].accuracy.at(step) for name in names}
        return BestStep(step, None if math.isnan(number) else int(number), accuracies)


def _rank(value: float) -> float:
    """Return a sort key that ranks NaN below all numbers."""
    return -math.inf if math.isnan(value) else value


def figure_names(runs: Sequence[TrainLog]) -> List[str]:
    """Return the figures of which the runs have curves: ``CLASSIFICATION`` first, then others by first appearance."""
    names = dict.fromkeys(name for run in runs for name in run.curves if name not in COLUMNS)
    return [name for name in CLASSIFICATION if name in names] + [name for name in names if name not in CLASSIFICATION]
