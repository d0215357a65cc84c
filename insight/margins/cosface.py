"""Loss type 2: CosFace, a margin taken off the target's cosine.

Source: Wang et al., "CosFace", arXiv:1801.09414, Eq. 4; the same as AM-Softmax, Wang et al.,
arXiv:1801.05599, Eq. 5. The margin is ``--margin-m``, as in train_softmax.py of
deepinsight/insightface@4bc81321.
"""

from __future__ import annotations

from ..options import Option
from . import margins
from .margin import SCALE, Margin, TargetLogit


def cosine(default: float) -> Option:
    """``--margin-m`` of a margin that takes a cosine off."""
    return Option(
        "margin_m",
        default,
        "cosface: taken off the target's cosine (0.5; elasticface_cos: 0.35)",
        holds=lambda m: m > 0,
        rule="a cosine above 0, such as 0.35",
    )


@margins.register("cosface", "amsoftmax", "2")
class CosFace(Margin):
    """cos(theta) - m.

    Raises
    ------
    InsightError
        ``m`` is not above 0.
    """

    name = "cosface"
    OPTIONS = (SCALE, cosine(0.5))

    def target_logit(self, targets):
        return TargetLogit(targets.cos_B - self.options.margin_m, targets.F.ones_like(targets.cos_B))
