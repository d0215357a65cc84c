"""Loss type 5: the combined margin, a factor and a shift of the angle and a shift of the cosine.

Source: Deng et al., "ArcFace", arXiv:1801.07698, Eq. 4 (m1 = a, m2 = m, m3 = b);
train_softmax.py of deepinsight/insightface@4bc81321, which ignores a negative m or b.
"""

from __future__ import annotations

import math

from . import heads
from .margin import Margin, MarginOptions, clip_cosine, require


@heads.register("combined", "5")
class Combined(Margin):
    """cos(a theta + m) - b, by the arc cosine, without ArcFace's fallback.

    Beyond a theta + m = pi the cosine rises again, as in the original.

    Raises
    ------
    InsightError
        ``a`` is not above 0, ``m`` is outside 0 <= m < pi, or ``b`` is below 0.
    """

    name = "combined"
    uses = ("s", "a", "m", "b")

    def __init__(self, options: MarginOptions):
        super().__init__(options)
        require(options.a > 0, options, "a", "the factor of the angle must be above 0 (1 leaves it)")
        require(0 <= options.m < math.pi, options, "m", "an angle in radians, 0 <= m < pi")
        require(options.b >= 0, options, "b", "what is taken off the cosine must be 0 or more")

    def target_logit(self, F, cos_B):
        a, m, b = self.options.a, self.options.m, self.options.b
        if a == 1 and m == 0:
            return cos_B - b, F.ones_like(cos_B)
        new_B, slope_B = turned(F, cos_B, a, m)
        return new_B - b, slope_B


def turned(F, cos_B, a: float, m: float):
    """cos(a theta + m) and its derivative by cos(theta)."""
    cos_B, sin_B = clip_cosine(F, cos_B)
    angle_B = a * F.arccos(cos_B) + m
    return F.cos(angle_B), a * F.sin(angle_B) / sin_B
