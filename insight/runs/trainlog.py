"""A training run as curves over its steps; :mod:`.logfiles` reads them from logs.

If a step is not beyond the one before, the run was started again or resumed under the same name: what the log has
before it, from that step on, is replaced.
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
    """Values over rising steps."""

    def __init__(self) -> None:
        self.steps: List[int] = []
        self.values: List[float] = []

    def __len__(self) -> int:
        return len(self.steps)

    def add(self, step: int, value: Optional[float]) -> None:
        """Append a point; one that is not beyond the last replaces all from its step on. None becomes NaN."""
        while self.steps and self.steps[-1] >= step:
            self.steps.pop()
            self.values.pop()
        self.steps.append(step)
        self.values.append(math.nan if value is None else float(value))

    def arrays(self) -> Tuple[np.ndarray, np.ndarray]:
        """(N,) int64 steps and (N,) float64 values."""
        return np.array(self.steps, np.int64), np.array(self.values, np.float64)

    def __contains__(self, step: int) -> bool:
        return self._position(step) is not None

    def at(self, step: int) -> float:
        """The value at a step, NaN if there is none."""
        position = self._position(step)
        return math.nan if position is None else self.values[position]

    def _position(self, step: int) -> Optional[int]:
        position = bisect_left(self.steps, step)
        return position if position < len(self.steps) and self.steps[position] == step else None


class TargetCurves(NamedTuple):
    """One verification set: accuracy, its standard deviation over folds, mean length of an embedding."""

    accuracy: Curve
    std: Curve
    xnorm: Curve


class BestStep(NamedTuple):
    """The best verification of a run: its step, the checkpoint's number (None if not logged), accuracies."""

    step: int
    number: Optional[int]
    accuracies: Dict[str, float]


class TrainLog:
    """One run.

    Attributes
    ----------
    label : str
        Its name in pictures and tables.
    curves : dict
        Name to :class:`Curve`: figures of the objective, such as ``acc`` (with the margin) and ``acc_free`` (without);
        ``lr``; ``speed`` in images/s; ``wait``, the share of the time that training waited for data; ``cpu``,
        processor time as a share of what its threads could have had.
    targets : dict
        Name to :class:`TargetCurves`, in the order in which they are verified.
    saved : Curve
        Numbers of the checkpoints over the steps at which they were saved.
    saved_averages : Curve
        The same of the averages of weights, whose targets' names end in ``-ema``.
    histograms : dict
        Name to (step, Histogram) over rising steps: of the steps since the entry before.
    options : dict
        Of the run, by name; empty if the log has none.
    """

    def __init__(self, label: str):
        self.label = printable(label)
        self.clear()

    def clear(self) -> None:
        """Remove everything: another run begins."""
        self.curves: Dict[str, Curve] = {}
        self.targets: Dict[str, TargetCurves] = {}
        self.saved, self.saved_averages = Curve(), Curve()
        self.histograms: Dict[str, List[Tuple[int, Histogram]]] = {}
        self.options: dict = {}

    def add(self, name: str, step: int, value: Optional[float]) -> None:
        """Append to a curve; ignore names of neither a figure nor a column."""
        if name in COLUMNS or is_name(name):
            self.curves.setdefault(name, Curve()).add(step, value)

    def add_histogram(self, name: str, step: int, histogram: Histogram) -> None:
        """Append a histogram; one that is not beyond the last replaces all from its step on."""
        earlier = [entry for entry in self.histograms.get(name, []) if entry[0] < step]
        self.histograms[name] = [*earlier, (step, histogram)]

    def target(self, name: str) -> TargetCurves:
        """The curves of a target, empty ones if it is new."""
        return self.targets.setdefault(name, TargetCurves(Curve(), Curve(), Curve()))

    def last_step(self) -> int:
        """The last step in the log."""
        curves = [*self.curves.values(), *(target.accuracy for target in self.targets.values())]
        return max(curve.steps[-1] for curve in curves if len(curve))

    def best_of(self, target: str) -> BestStep:
        """The highest accuracy of one target; of equal ones a saved one, then the later.

        Step 0, the network before training, counts only if it was saved, or if there is no other.
        """
        accuracy = self.targets[target].accuracy
        saved = self.saved_averages if target.endswith(AVERAGES) else self.saved
        steps = [step for step in accuracy.steps if step or step in saved] or accuracy.steps
        step = max(steps, key=lambda s: (_rank(accuracy.at(s)), not math.isnan(saved.at(s)), s))
        return self._best(step, [target], saved)

    def best(self) -> Optional[BestStep]:
        """The best verification by train-softmax's rule: the last target decides, then the sum, then the later step.

        None if no step has all targets. The averages have a best of their own, which is not looked for.
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
    """NaN below all numbers."""
    return -math.inf if math.isnan(value) else value


def figure_names(runs: Sequence[TrainLog]) -> List[str]:
    """Figures that the runs have curves of: those of a classification first, then the others in order of appearance."""
    names = dict.fromkeys(name for run in runs for name in run.curves if name not in COLUMNS)
    return [name for name in CLASSIFICATION if name in names] + [name for name in names if name not in CLASSIFICATION]
