"""Loss type 6: ArcFace and, beside the cross entropy, a loss that shrinks the target's angle.

Source: train_softmax.py of deepinsight/insightface@9fc3cc9c, loss type 6 (``intra_loss``);
the intra-loss of Deng et al., "ArcFace", arXiv:1801.07698, Eq. 5, as that file scales it.
"""

from __future__ import annotations

import math

from . import heads
from .combined import turned
from .margin import Margin, MarginOptions, clip_cosine, require


@heads.register("arcface_intra", "6")
class ArcFaceIntra(Margin):
    """cos(theta + m), without ArcFace's fallback, and the loss b theta / pi.

    Raises
    ------
    InsightError
        ``m`` is outside 0 <= m < pi, or ``b`` is not above 0.
    """

    name = "arcface_intra"
    uses = ("s", "m", "b")
    example = MarginOptions(b=0.5)

    def __init__(self, options: MarginOptions):
        super().__init__(options)
        require(0 <= options.m < math.pi, options, "m", "an angle in radians, 0 <= m < pi")
        require(options.b > 0, options, "b", "the weight of the angle's loss must be above 0 (without it: arcface)")

    def target_logit(self, F, cos_B):
        return turned(F, cos_B, 1.0, self.options.m)

    def own_loss(self, F, cos_B):
        cos_B, sin_B = clip_cosine(F, cos_B)
        weight = self.options.b / math.pi
        return weight * F.arccos(cos_B), -weight / sin_B
