"""Objective without a loss of its own, for training with a teacher alone (``--teacher``). Labels are not used."""

from __future__ import annotations

from typing import Any

from .._mxnet import mx
from ..errors import InsightError
from . import objectives
from .objective import Objective, StepResult


@objectives.register("none")
class NoLoss(Objective):
    """Objective with zero gradients, no figures and no parameters.

    :class:`insight.objectives.distilled.Distilled` adds the loss of the teacher.
    """

    name = "none"
    labelled = False

    @classmethod
    def from_options(cls, run_options: Any, num_classes: int) -> NoLoss:
        """Create the objective; raises InsightError if the run has no teacher."""
        if not run_options.teacher:
            raise InsightError("--loss-type none: nothing is learned without a --teacher; give one, or a margin")
        return super().from_options(run_options, num_classes)

    def learn(self, embeddings: list, batch, step: int) -> StepResult:
        """Return zero gradients and no figures."""
        return StepResult([mx.nd.zeros(e.shape, ctx=e.context, dtype="float32") for e in embeddings], {})
