"""No loss of its own: what a step learns comes from a teacher alone (``--teacher``), and labels mean nothing."""

from __future__ import annotations

from typing import Any

from .._mxnet import mx
from ..errors import InsightError
from . import objectives
from .objective import Objective, StepResult


@objectives.register("none")
class NoLoss(Objective):
    """Gradients of zero, no figures, no fc7; :class:`insight.objectives.distilled.Distilled` adds the teacher's."""

    name = "none"
    labelled = False

    @classmethod
    def from_options(cls, run_options: Any, num_classes: int) -> NoLoss:
        """Refused without a teacher: nothing would be learned."""
        if not run_options.teacher:
            raise InsightError("--loss-type none: nothing is learned without a --teacher; give one, or a margin")
        return super().from_options(run_options, num_classes)

    def learn(self, embeddings: list, batch, step: int) -> StepResult:
        """No figures."""
        return StepResult([mx.nd.zeros(e.shape, ctx=e.context, dtype="float32") for e in embeddings], {})
