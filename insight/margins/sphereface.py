"""Loss type 1: SphereFace (A-Softmax), a factor of the target's angle, annealed from plain softmax.

Source: Liu et al., "SphereFace", arXiv:1704.08063, Eq. 7 and section 4; the annealing is train_softmax.py's of
deepinsight/insightface@4bc81321, and the logit is that of its LSoftmax operator on normalised weights.
"""

from __future__ import annotations

import math

from ..errors import InsightError
from ..options import Option
from . import margins
from .margin import Margin, TargetLogit


def _weight(name: str, default, text: str) -> Option:
    return Option(name, default, text, holds=lambda value: value >= 0, rule="must be 0 or more")


@margins.register("sphereface", "asoftmax", "1")
class SphereFace(Margin):
    """(psi(theta) + beta cos(theta)) / (1 + beta), times the embedding's own length.

    psi(theta) = (-1)^k cos(margin theta) - 2k on k pi <= margin theta <= (k + 1) pi: it falls from 1 to
    1 - 2 margin. cos(margin theta) is the Chebyshev polynomial of the cosine, so there is no arc cosine,
    and the derivative is a polynomial too.

    Raises
    ------
    InsightError
        ``margin`` is below 1, a weight or exponent is negative, or ``beta_min`` exceeds ``beta``.
    """

    name = "sphereface"
    OPTIONS = (
        Option(
            "margin",
            4,
            "sphereface: factor of the angle, a whole number",
            holds=lambda margin: margin >= 1 and margin == int(margin),
            rule="SphereFace takes a whole number, 1 or more",
        ),
        _weight("beta", 1000.0, "sphereface: weight of the plain logit at the start"),
        _weight("beta_min", 5.0, "sphereface: its least weight"),
        _weight("beta_freeze", 0, "sphereface: steps before the weight falls"),
        _weight("gamma", 0.12, "sphereface: how fast it falls"),
        _weight("power", 1.0, "sphereface: exponent of its fall"),
    )
    unit_embedding = False

    def __init__(self, **given):
        super().__init__(**given)
        least, start = self.options.beta_min, self.options.beta
        if least > start:
            raise InsightError(
                f"--beta-min {least:g}: beta falls from --beta {start:g} and can't end above it; lower --beta-min"
            )

    @property
    def lr_delay(self):
        return self.options.beta_freeze

    def beta_at(self, step: int) -> float:
        """The weight of the plain cosine in step ``step`` (0-based)."""
        o = self.options
        falling = max(0, step - o.beta_freeze)
        return max(o.beta_min, o.beta * (1 + o.gamma * falling) ** -o.power)

    def target_logit(self, targets):
        F, margin, beta = targets.F, int(self.options.margin), self.beta_at(targets.step)
        cos_B = F.clip(targets.cos_B, -1.0, 1.0)
        ones_B = F.ones_like(cos_B)
        first_B, before_B = cos_B, ones_B  # T_n, T_n-1: cosines of n theta
        second_B, earlier_B = ones_B, F.zeros_like(cos_B)  # U_n-1, U_n-2: T_n' = n U_n-1
        for _ in range(margin - 1):
            first_B, before_B = 2 * cos_B * first_B - before_B, first_B
            second_B, earlier_B = 2 * cos_B * second_B - earlier_B, second_B
        k_B = F.zeros_like(cos_B)
        for turn in range(1, margin):
            k_B = k_B + (cos_B < math.cos(turn * math.pi / margin))
        sign_B = F.cos(math.pi * k_B)
        share = 1 / (1 + beta)
        new_B = share * (sign_B * first_B - 2 * k_B + beta * cos_B)
        return TargetLogit(new_B, share * (margin * sign_B * second_B + beta))
