"""CurricularFace: ArcFace with increasing weight of hard negative classes in the course of training.

Source: Huang et al., "CurricularFace", arXiv:2004.00288, Eq. 5 to 11; head/metrics.py of
HuangYG123/CurricularFace@68c8727f.
"""

from __future__ import annotations

import math

import numpy as np

from . import margins
from .angle import STRAIGHT_THROUGH, AngularMargin, acute_angle, turned
from .margin import SCALE, T_ALPHA, TargetLogit


@margins.register("curricularface", "curricular")
class CurricularFace(AngularMargin):
    """cos(theta + m) while theta + m < pi, else cos(theta) - m sin(m); cosines of other classes above cos(theta + m)
    become cos (t + cos).

    t is an exponential moving average of the target cosines of all devices. It starts at 0, and is updated before a
    batch uses it. While it is low, such classes get smaller gradients than in ArcFace (their slope is t + 2 cos); later
    they get larger ones.

    Figures: ``t``.

    Raises
    ------
    InsightError
        ``m`` is outside 0 <= m < pi/2, or ``t_alpha`` is outside 0..1.
    """

    name = "curricularface"
    OPTIONS = (
        SCALE,
        acute_angle("CurricularFace"),
        T_ALPHA,
        STRAIGHT_THROUGH,
    )
    modulates = True

    def initial_state(self):
        return {"t": np.zeros(1, np.float32)}

    def update(self, targets):
        share = self.options.t_alpha
        return {"t": share * targets.F.mean(targets.cos_B) + (1 - share) * targets.state["t"]}

    def angular_logit(self, targets):
        F, m, cos_B = targets.F, self.options.margin_m, targets.cos_B
        shifted = turned(F, cos_B, 1.0, m)
        inside_B = cos_B > -math.cos(m)
        outside_B = 1 - inside_B
        fallback_B = cos_B - m * math.sin(m)
        return TargetLogit(
            inside_B * shifted.new_B + outside_B * fallback_B,
            inside_B * shifted.slope_B + outside_B,
        )

    def others(self, cos_RC, targets, new_R):
        """cos (1 + g) and 1 + g + hard cos, g = hard (t - 1 + cos); hard is 1 if cos > cos(theta_y + m), else 0."""
        F, t = targets.F, targets.state["t"]
        # Not new_R, which contains the fallback.
        threshold_R = turned(F, targets.cos_B, 1.0, self.options.margin_m).new_B
        hard_RC = F.broadcast_greater(cos_RC, threshold_R.reshape((-1, 1)))
        factor_RC = F.broadcast_add(cos_RC, (t - 1).reshape((1, 1)))
        factor_RC *= hard_RC
        factor_RC += 1
        hard_RC *= cos_RC
        hard_RC += factor_RC
        cos_RC *= factor_RC
        return cos_RC, hard_RC

    def figures(self, targets):
        return {"t": targets.state["t"].copy()}
