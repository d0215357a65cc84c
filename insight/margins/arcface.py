"""Loss type 4: ArcFace, an angle added to the target's angle.

Source: Deng et al., "ArcFace", arXiv:1801.07698, Eq. 3; the fallback for angles where
theta + m would pass pi is train_softmax.py's of deepinsight/insightface@4bc81321.
"""

from __future__ import annotations

import math

from ..options import Option
from . import margins
from .angle import STRAIGHT_THROUGH, AngularMargin, acute_angle
from .margin import SCALE, TargetLogit, clip_cosine


@margins.register("arcface", "4")
class ArcFace(AngularMargin):
    """cos(theta + m) while theta + m < pi, else cos(theta) - m sin(m), a line that keeps falling.

    With ``easy_margin``: cos(theta + m) where cos(theta) > 0, else cos(theta) unchanged.

    Raises
    ------
    InsightError
        ``m`` is outside 0 <= m < pi/2.
    """

    name = "arcface"
    OPTIONS = (
        SCALE,
        acute_angle("ArcFace"),
        Option(
            "easy_margin", 0, "arcface: 1 applies the margin only where the target cosine is positive", choices=(0, 1)
        ),
        STRAIGHT_THROUGH,
    )

    def angular_logit(self, targets):
        F, m, easy = targets.F, self.options.margin_m, self.options.easy_margin
        cos_B, sin_B = clip_cosine(F, targets.cos_B)
        inside_B = cos_B > (0.0 if easy else -math.cos(m))
        outside_B = 1.0 - inside_B
        shifted_B = cos_B * math.cos(m) - sin_B * math.sin(m)
        slope_B = math.cos(m) + cos_B / sin_B * math.sin(m)
        fallback_B = cos_B if easy else cos_B - m * math.sin(m)
        return TargetLogit(inside_B * shifted_B + outside_B * fallback_B, inside_B * slope_B + outside_B)
