"""Loss type 0: plain softmax, logits ``W x + b`` with nothing normalised."""

from __future__ import annotations

from . import margins
from .margin import Margin, TargetLogit


@margins.register("softmax", "0")
class Softmax(Margin):
    """No margin: the target logit stays as it is."""

    name = "softmax"
    OPTIONS = ()
    cosine = False
    unit_embedding = False
    lr_steps = (40_000, 60_000, 80_000)

    def target_logit(self, targets):
        return TargetLogit(targets.cos_B, targets.F.ones_like(targets.cos_B))
