"""The learning rate and the length of a run, as pure functions of the step."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from ..errors import InsightError
from .options import TrainOptions

FACTOR = 0.1
REFERENCE_BATCH = 512  # the batch that the original's default steps were found with
DEFAULT_STEPS = {"softmax": (40_000, 60_000, 80_000)}
DEFAULT_MARGIN_STEPS = (100_000, 140_000, 160_000)


@dataclass(frozen=True)
class StepSchedule:
    """``lr`` times 0.1 for each boundary that has been reached.

    Attributes
    ----------
    lr : float
        Rate of step 0.
    boundaries : tuple of int
        Rising step numbers; step ``b`` (0-based) is the first with the lower rate.
    """

    lr: float
    boundaries: tuple

    def __call__(self, step: int) -> float:
        return self.lr * FACTOR ** bisect_right(self.boundaries, step)


def from_options(options: TrainOptions, head_name: str) -> StepSchedule:
    """The schedule that ``--lr`` and ``--lr-steps`` ask for.

    Without ``--lr-steps``: the original's defaults, scaled by 512 / batch, as it did.
    Explicit steps are taken as they are.
    """
    if options.lr_steps:
        boundaries = _parse(options.lr_steps)
    else:
        scale = REFERENCE_BATCH / options.per_batch_size
        defaults = DEFAULT_STEPS.get(head_name, DEFAULT_MARGIN_STEPS)
        boundaries = tuple(int(step * scale) for step in defaults)
    return StepSchedule(options.lr, boundaries)


def _parse(text: str) -> tuple:
    try:
        steps = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InsightError(f"--lr-steps {text}: must be whole numbers with commas between, like 1000,1500") from None
    if list(steps) != sorted(set(steps)) or steps[0] < 1:
        raise InsightError(f"--lr-steps {text}: must rise, each above 0")
    return steps


def total_steps(options: TrainOptions, schedule: StepSchedule, batches_per_epoch: int) -> int:
    """How many steps the run takes; always finite."""
    wanted = options.max_steps or schedule.boundaries[-1] * 5 // 4
    return min(wanted, options.end_epoch * batches_per_epoch)
