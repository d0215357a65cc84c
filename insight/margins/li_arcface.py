"""Li-ArcFace: logits that are linear in the angle.

Source: Li et al., "AirFace: Lightweight and Efficient Model for Face Recognition", arXiv:1907.12256, section 3.2. As in
src/seesaw_models/Li_ArcFace.py of limxuanyu127/seesawfacenet_pytorch, the logits of the other classes are linear too.
"""

from __future__ import annotations

import math

from . import margins
from .angle import STRAIGHT_THROUGH, AngularMargin, angle
from .margin import SCALE, SIN_SQUARED_FLOOR, TargetLogit


@margins.register("li_arcface", "liarcface", "airface")
class LiArcFace(AngularMargin):
    """1 - 2 (theta + m) / pi, and 1 - 2 theta_j / pi for the other classes.

    It decreases over all angles, so no fallback is needed. The derivative by the cosine is 2 / (pi sin(theta)).

    Raises
    ------
    InsightError
        ``m`` is outside 0 <= m < pi.
    """

    name = "li_arcface"
    OPTIONS = (SCALE, angle(0.4), STRAIGHT_THROUGH)
    modulates = True

    def angular_logit(self, targets):
        linear_B, slope_B = _linear(targets.F, targets.cos_B.copy())
        return TargetLogit(linear_B - 2 / math.pi * self.options.margin_m, slope_B)

    def others(self, cos_RC, targets, new_R):
        linear_RC, slope_RC = _linear(targets.F, cos_RC)
        if self.options.straight_through:
            slope_RC = targets.F.ones_like(slope_RC)
        return linear_RC, slope_RC


def _linear(F, cosine) -> tuple:
    """(1 - 2 theta / pi, its derivative by the cosine). Overwrites ``cosine``, because blocks of logits are large."""
    F.clip(cosine, -1.0, 1.0, out=cosine)
    sine = F.square(cosine)
    sine *= -1
    sine += 1
    F.clip(sine, SIN_SQUARED_FLOOR, 1.0, out=sine)
    F.sqrt(sine, out=sine)
    F.arccos(cosine, out=cosine)
    cosine *= -2 / math.pi
    cosine += 1
    return cosine, 2 / math.pi / sine
