"""Loss type 7: ArcFace and, beside the cross entropy, a loss that spreads the class centres.

Source: train_softmax.py of deepinsight/insightface@9fc3cc9c, loss type 7 (``inter_loss``): the mean of the
cosines themselves, where the inter-loss of arXiv:1801.07698, Eq. 6, has angles. It reads ``--margin-a`` only to
assert that it is positive.
"""

from __future__ import annotations

import math

from . import heads
from .combined import turned
from .margin import Margin, MarginOptions, require


@heads.register("arcface_inter", "7")
class ArcFaceInter(Margin):
    """cos(theta + m), without ArcFace's fallback, and the loss b mean_j cos(W_y, W_j), j = y included.

    Raises
    ------
    InsightError
        ``m`` is outside 0 <= m < pi, or ``b`` is not above 0.
    """

    name = "arcface_inter"
    uses = ("s", "m", "b")
    example = MarginOptions(b=0.5)

    def __init__(self, options: MarginOptions):
        super().__init__(options)
        require(0 <= options.m < math.pi, options, "m", "an angle in radians, 0 <= m < pi")
        require(options.b > 0, options, "b", "the weight of the centres' loss must be above 0 (without it: arcface)")
        self.centre_spread = options.b

    def target_logit(self, F, cos_B):
        return turned(F, cos_B, 1.0, self.options.m)
