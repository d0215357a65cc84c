"""CosFace with a margin that grows from 0 to its full size, so that early steps learn from an easier loss."""

from insight.margins.cosface import cosine
from insight.margins.margin import SCALE, Margin, TargetLogit
from insight.options import Option


class Ramped(Margin):
    """cos(theta) - m min(1, step / ramp)."""

    name = "ramped"
    OPTIONS = (
        SCALE,
        cosine(0.35),
        Option("ramp_steps", 1000, "steps until the margin is full", holds=lambda n: n > 0, rule="at least 1"),
    )

    def target_logit(self, targets):
        margin = self.options.margin_m * min(1, targets.step / self.options.ramp_steps)
        return TargetLogit(targets.cos_B - margin, targets.F.ones_like(targets.cos_B))
