"""Loss type 7: ArcFace with an additional loss that spreads the class centres.

Source: train_softmax.py of deepinsight/insightface@9fc3cc9c, loss type 7 (``inter_loss``). It uses the mean of the
cosines, where the inter-loss of arXiv:1801.07698, Eq. 6, uses angles. The original requires a positive ``--margin-a``
but does not use it.
"""

from __future__ import annotations

from typing import ClassVar

from ..options import Option
from . import margins
from .angle import ANGLE, turned
from .margin import SCALE, Margin


@margins.register("arcface_inter", "7")
class ArcFaceInter(Margin):
    """cos(theta + m), without ArcFace's fallback, and the loss b mean_j cos(W_y, W_j), j = y included.

    Raises
    ------
    InsightError
        ``m`` is outside 0 <= m < pi, or ``b`` is not above 0.
    """

    name = "arcface_inter"
    OPTIONS = (
        SCALE,
        ANGLE,
        Option(
            "margin_b",
            0.0,
            "arcface_inter: weight of the centres' loss",
            holds=lambda b: b > 0,
            rule="the weight of the centres' loss must be above 0 (without it: arcface)",
        ),
    )
    example: ClassVar = {"margin_b": 0.5}

    @property
    def centre_spread(self):
        return self.options.margin_b

    def target_logit(self, targets):
        return turned(targets.F, targets.cos_B, 1.0, self.options.margin_m)
