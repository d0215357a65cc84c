"""Options and base class of margins that change the angle."""

from __future__ import annotations

import abc
import math

from ..options import Option
from .margin import Margin, TargetLogit, clip_cosine
from .targets import Targets

ANGLE_HELP = "margin: an angle added to the target's, radians (0.5; adaface, li_arcface: 0.4)"
STRAIGHT_THROUGH = Option(
    "straight_through", False, "the target logit's slope is 1 in place of its derivative, which grows near the centre"
)


def angle(default: float) -> Option:
    """``--margin-m`` of a margin that adds an angle."""
    return Option(
        "margin_m", default, ANGLE_HELP, holds=lambda m: 0 <= m < math.pi, rule="an angle in radians, 0 <= m < pi"
    )


def acute_angle(loss: str) -> Option:
    """``--margin-m`` of a margin with ArcFace's fallback; ``loss`` names it in messages."""
    return Option(
        "margin_m",
        0.5,
        ANGLE_HELP,
        holds=lambda m: 0 <= m < math.pi / 2,
        rule=f"{loss} takes an angle in radians, 0 <= m < pi/2",
    )


ANGLE = angle(0.5)


class AngularMargin(Margin):
    """Base of margins on the angle with ``--straight-through``. Subclasses define :meth:`angular_logit`.

    The derivative of cos(theta + m) by cos(theta) is sin(theta + m) / sin(theta): for m = 0.5 it is 0.9 at 90 degrees,
    1.4 at 45 and 5.4 at 6. With ``straight_through`` it is replaced by 1 at every angle, which reduces the gradient of
    samples near their centre. Source: recognition/arcface_torch/losses.py of deepinsight/insightface, which changes the
    cosines without recording it for autograd.
    """

    @abc.abstractmethod
    def angular_logit(self, targets: Targets) -> TargetLogit:
        """As :meth:`target_logit`, with the exact derivative as the slope."""

    def target_logit(self, targets):
        logit = self.angular_logit(targets)
        if self.options.straight_through:
            return logit._replace(slope_B=targets.F.ones_like(logit.slope_B))
        return logit


def turned(F, cos_B, a: float, m) -> TargetLogit:
    """cos(a theta + m) and its derivative by cos(theta). It is not monotonic: beyond a theta + m = pi it rises again.

    ``m`` is a number, or a (B,) array.
    """
    cos_B, sin_B = clip_cosine(F, cos_B)
    angle_B = a * F.arccos(cos_B) + m
    return TargetLogit(F.cos(angle_B), a * F.sin(angle_B) / sin_B)
