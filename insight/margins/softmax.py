"""Loss type 0: plain softmax, logits ``W x + b`` with nothing normalised."""

from __future__ import annotations

from . import heads
from .margin import Margin


@heads.register("softmax", "0")
class Softmax(Margin):
    """No margin: the target logit stays as it is."""

    name = "softmax"
    uses = ()
    cosine = False
    unit_embedding = False

    def target_logit(self, F, cos_B):
        return cos_B, F.ones_like(cos_B)
