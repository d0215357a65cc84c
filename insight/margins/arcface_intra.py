"""Loss type 6: ArcFace with an additional loss that decreases the angle between embedding and own centre.

Source: train_softmax.py of deepinsight/insightface@9fc3cc9c, loss type 6 (``intra_loss``);
the intra-loss of Deng et al., "ArcFace", arXiv:1801.07698, Eq. 5, as that file scales it.
"""

from __future__ import annotations

import math
from typing import ClassVar

from ..options import Option
from . import margins
from .angle import ANGLE, turned
from .margin import SCALE, Margin, OwnLoss, clip_cosine


@margins.register("arcface_intra", "6")
class ArcFaceIntra(Margin):
    """cos(theta + m), without ArcFace's fallback, and the loss b theta / pi.

    Raises
    ------
    InsightError
        ``m`` is outside 0 <= m < pi, or ``b`` is not above 0.
    """

    name = "arcface_intra"
    OPTIONS = (
        SCALE,
        ANGLE,
        Option(
            "margin_b",
            0.0,
            "arcface_intra: weight of the angle's loss",
            holds=lambda b: b > 0,
            rule="the weight of the angle's loss must be above 0 (without it: arcface)",
        ),
    )
    example: ClassVar = {"margin_b": 0.5}

    def target_logit(self, targets):
        return turned(targets.F, targets.cos_B, 1.0, self.options.margin_m)

    def own_loss(self, targets):
        cos_B, sin_B = clip_cosine(targets.F, targets.cos_B)
        weight = self.options.margin_b / math.pi
        return OwnLoss(weight * targets.F.arccos(cos_B), -weight / sin_B)
