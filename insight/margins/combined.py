"""Loss type 5: the combined margin, a factor and a shift of the angle and a shift of the cosine.

Source: Deng et al., "ArcFace", arXiv:1801.07698, Eq. 4 (m1 = a, m2 = m, m3 = b);
train_softmax.py of deepinsight/insightface@4bc81321, which ignores a negative m or b.
"""

from __future__ import annotations

from ..options import Option
from . import margins
from .angle import ANGLE, STRAIGHT_THROUGH, AngularMargin, turned
from .margin import SCALE, TargetLogit


@margins.register("combined", "5")
class Combined(AngularMargin):
    """cos(a theta + m) - b, by the arc cosine, without ArcFace's fallback.

    Beyond a theta + m = pi the cosine rises again, as in the original.

    Raises
    ------
    InsightError
        ``a`` is not above 0, ``m`` is outside 0 <= m < pi, or ``b`` is below 0.
    """

    name = "combined"
    OPTIONS = (
        SCALE,
        Option(
            "margin_a",
            1.0,
            "combined: factor of the angle",
            holds=lambda a: a > 0,
            rule="the factor of the angle must be above 0 (1 leaves it)",
        ),
        ANGLE,
        Option(
            "margin_b",
            0.0,
            "combined: taken off the cosine",
            holds=lambda b: b >= 0,
            rule="what is taken off the cosine must be 0 or more",
        ),
        STRAIGHT_THROUGH,
    )

    def angular_logit(self, targets):
        F, options = targets.F, self.options
        a, m, b = options.margin_a, options.margin_m, options.margin_b
        if a == 1 and m == 0:
            return TargetLogit(targets.cos_B - b, F.ones_like(targets.cos_B))
        new_B, slope_B, _ = turned(F, targets.cos_B, a, m)
        return TargetLogit(new_B - b, slope_B)
