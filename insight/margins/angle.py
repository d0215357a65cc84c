"""The angle that several margins add to the target's, without ArcFace's fallback, and its option."""

from __future__ import annotations

import math

from ..options import Option
from .margin import TargetLogit, clip_cosine

ANGLE_HELP = "margin: an angle added to the target's, radians"
ANGLE = Option("margin_m", 0.5, ANGLE_HELP, holds=lambda m: 0 <= m < math.pi, rule="an angle in radians, 0 <= m < pi")


def turned(F, cos_B, a: float, m: float) -> TargetLogit:
    """cos(a theta + m) and its derivative by cos(theta). Beyond a theta + m = pi it rises again."""
    cos_B, sin_B = clip_cosine(F, cos_B)
    angle_B = a * F.arccos(cos_B) + m
    return TargetLogit(F.cos(angle_B), a * F.sin(angle_B) / sin_B)
