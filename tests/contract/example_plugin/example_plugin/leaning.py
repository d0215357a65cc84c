"""A margin with an option of its own and a state."""

import numpy as np

from insight.margins import margins
from insight.margins.margin import SCALE, Margin, TargetLogit
from insight.options import Option


@margins.register("leaning")
class Leaning(Margin):
    """cos(theta) - lean (1 + t), where t is a running mean of the target cosines: the margin grows with success."""

    name = "leaning"
    OPTIONS = (
        SCALE,
        Option("lean", 0.2, "leaning: margin at mean cosine 0", holds=lambda lean: lean > 0, rule="must be above 0"),
    )

    def target_logit(self, targets):
        F = targets.F
        new_B = F.broadcast_sub(targets.cos_B, self.options.lean * (1 + targets.state["t"]))
        return TargetLogit(new_B, F.ones_like(new_B))

    def initial_state(self):
        return {"t": np.zeros(1)}

    def update(self, targets):
        return {"t": 0.9 * targets.state["t"] + 0.1 * targets.F.mean(targets.cos_B)}
