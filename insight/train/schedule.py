"""Learning rate schedules and the length of a run.

Rates are pure functions of the step. All lengths are in steps; :func:`from_options` converts epochs and samples.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

from ..errors import InsightError
from ..objectives.objective import Objective
from .train_options import TrainOptions

FACTOR = 0.1
REFERENCE_BATCH = 512  # batch size for which InsightFace's default steps were chosen


@dataclass(frozen=True)
class Schedule:
    """Base class of the learning rate schedules: linear warm-up to ``lr``, then the decay of the subclass.

    Attributes
    ----------
    lr : float
        Highest learning rate.
    warmup : int
        Steps of warm-up, with rates lr/warmup, 2 lr/warmup, …, lr.
    total_steps : int
        Length of the run.
    batch_size : int
        Images per step, over all devices.
    batches_per_epoch : int
        Steps per epoch.
    """

    lr: float
    warmup: int
    total_steps: int
    batch_size: int
    batches_per_epoch: int

    def __call__(self, step: int) -> float:
        """Learning rate of a step, 0-based."""
        if step < self.warmup:
            return self.lr * ((step + 1) / self.warmup)
        return self.lr * self._left(step)

    def _left(self, step: int) -> float:
        """Factor of ``lr`` after the warm-up, from 1 down to 0."""
        raise NotImplementedError

    def _progress(self, step: int) -> float:
        """Linear progress from 0 at the end of the warm-up to 1 at the end of the run."""
        return min(1.0, (step - self.warmup) / max(1, self.total_steps - self.warmup))

    def _words(self) -> str:
        raise NotImplementedError

    def describe(self) -> str:
        """One line for the log, with lengths in steps."""
        epochs = self.total_steps / self.batches_per_epoch
        rise = f" after {self.warmup} steps of warm-up" if self.warmup else ""
        fall = f", {self._words()}" if self.warmup < self.total_steps else " (the run ends within it)"
        return f"{self.total_steps} steps of {self.batch_size} images ({epochs:.1f} epochs); lr {self.lr:g}{rise}{fall}"


@dataclass(frozen=True)
class StepSchedule(Schedule):
    """Division by 10 at each boundary; step ``b``, 0-based, is the first with the lower rate."""

    boundaries: tuple

    def _left(self, step: int) -> float:
        return FACTOR ** bisect_right(self.boundaries, step)

    def _words(self) -> str:
        reached = [str(b) for b in self.boundaries if b < self.total_steps]
        if not self.boundaries:
            return "constant"
        if not reached:
            return f"constant (the first fall, at {self.boundaries[0]}, lies behind the end)"
        return f"a tenth at {', '.join(reached)}"


@dataclass(frozen=True)
class CosineSchedule(Schedule):
    """Cosine annealing to 0 at the end of the run (SGDR without restarts, arXiv:1608.03983, equation 5)."""

    def _left(self, step: int) -> float:
        return (1 + math.cos(math.pi * self._progress(step))) / 2

    def _words(self) -> str:
        return "by half a cosine to 0"


@dataclass(frozen=True)
class PolySchedule(Schedule):
    """Polynomial decay: lr (1 - t)^power, with t from 0 at the end of the warm-up to 1 at the end of the run."""

    power: float

    def _left(self, step: int) -> float:
        return (1 - self._progress(step)) ** self.power

    def _words(self) -> str:
        return f"by (1 - t)^{self.power:g} to 0"


def from_options(options: TrainOptions, objective: Objective, batch_size: int, batches_per_epoch: int) -> Schedule:
    """Create the schedule from ``--lr`` and the related options.

    Without ``--lr-steps``, the objective's default steps are scaled by 512 / batch size, as in InsightFace. Explicit
    steps are not scaled. Both are delayed by the objective's ``lr_delay``, as InsightFace delays SphereFace's by
    ``--beta-freeze`` (train_softmax.py, deepinsight/insightface@4bc81321). The cosine and poly schedules are as long as
    a step schedule with the default steps, unless ``--max-steps`` or ``--end-epoch`` gives another length.

    Parameters
    ----------
    options : TrainOptions
    objective : Objective
        Or any object with its ``lr_steps``, ``steps`` and ``lr_delay``.
    batch_size : int
        Images per step, over all devices.
    batches_per_epoch : int
        Steps per epoch.

    Raises
    ------
    InsightError
        A value is invalid, the steps are not increasing, the warm-up does not end before the first one, or steps are
        given for a schedule without any.
    """
    in_steps = {"steps": 1.0, "epochs": float(batches_per_epoch), "samples": 1 / batch_size}[options.lr_unit]
    warmup = _in_steps("--warmup", options.warmup, options.lr_unit, in_steps)
    boundaries = _boundaries(options, objective, batch_size, in_steps)
    length = boundaries[-1] * 5 // 4 if boundaries else objective.steps
    total = min(options.max_steps or length, options.end_epoch * batches_per_epoch)
    common = (options.lr, warmup, total, batch_size, batches_per_epoch)
    if options.lr_schedule == "cosine":
        return CosineSchedule(*common)
    if options.lr_schedule == "poly":
        return PolySchedule(*common, options.lr_power)
    if boundaries and warmup >= boundaries[0]:
        raise InsightError(
            f"--warmup {options.warmup:g} {options.lr_unit}: ends at step {warmup}, and the rate falls at step "
            f"{boundaries[0]} already; shorten it, or give later --lr-steps"
        )
    return StepSchedule(*common, boundaries)


def _boundaries(options: TrainOptions, objective: Objective, batch_size: int, in_steps: float) -> tuple:
    text = options.lr_steps
    shift = objective.lr_delay
    if not text:
        return tuple(int(step * REFERENCE_BATCH / batch_size) + shift for step in objective.lr_steps)
    if options.lr_schedule != "step":
        raise InsightError(
            f"--lr-steps {text}: only --lr-schedule step falls at steps; "
            f"say how long {options.lr_schedule} takes by --max-steps or --end-epoch"
        )
    try:
        given = [float(part) for part in text.rstrip(", ").split(",")]
    except ValueError:
        raise InsightError(f"--lr-steps {text}: must be numbers with commas between, like 1000,1500") from None
    steps = [_in_steps(f"--lr-steps {text}:", value, options.lr_unit, in_steps) for value in given]
    if steps != sorted(set(steps)) or steps[0] < 1:
        are = f" (they are steps {', '.join(map(str, steps))})" if options.lr_unit != "steps" else ""
        raise InsightError(f"--lr-steps {text}: must rise, each above 0{are}")
    return tuple(step + shift for step in steps)


def _in_steps(option: str, value: float, unit: str, in_steps: float) -> int:
    """Convert a length in ``unit`` to whole steps; epochs and samples are rounded."""
    if not math.isfinite(value) or value < 0 or (unit == "steps" and value != int(value)):
        kind = "whole number" if unit == "steps" else "number"
        raise InsightError(f"{option} {value:g}: must be a {kind}, 0 or more; --lr-unit is {unit}")
    return round(value * in_steps)
