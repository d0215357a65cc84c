"""MagFace: a margin that grows with the embedding's length, and an additional loss that rewards long embeddings.

Source: Meng et al., "MagFace", arXiv:2103.06627, Eq. 2 and 3, section 3.2 for the bound of lambda; models/magface.py of
IrvingMeng/MagFace@99bae614, for applying the margin only where the target cosine is positive.
"""

from __future__ import annotations

import math

from ..errors import InsightError
from ..options import Option
from . import margins
from .margin import SCALE, Margin, OwnLoss, TargetLogit, clip_cosine

LOW, HIGH = 0.45, 2.2  # default bounds of the length, in units of sqrt(E): 5.1 and 24.9 at 128
ABOVE_LEAST = 1.2  # default lambda, in units of the least


def _not_negative(name: str, text: str) -> Option:
    return Option(name, 0.0, text, holds=lambda value: value >= 0, rule="must be above 0; 0 for the default")


def _margin(name: str, default: float, text: str) -> Option:
    return Option(name, default, text, holds=lambda m: 0 <= m < math.pi / 2, rule="an angle in radians, 0 <= m < pi/2")


@margins.register("magface")
class MagFace(Margin):
    """cos(theta + m(a)) where cos(theta) > 0, else cos(theta), and the loss lambda (a / u_a^2 + 1 / a).

    a is the embedding's length, clipped to l_a..u_a; m(a) rises linearly from l_margin at l_a to u_margin at u_a. The
    gradient flows through m(a) and the loss; it is 0 for lengths outside l_a..u_a. Images that are easy to recognise
    get longer embeddings than hard ones, so that the length becomes a measure of image quality.

    The networks here end with a batch norm whose gamma is fixed to 1, so lengths are about sqrt(E): 11 for E = 128, 23
    for 512. The default bounds are 0.45 and 2.2 times that. (The paper's bounds, 10 and 110, are for networks that
    learn gamma.) For every theta there is a unique optimal length if

        lambda >= s k u_a^2 l_a^2 / (u_a^2 - l_a^2), where k = (u_margin - l_margin) / (u_a - l_a).

    By default lambda is 1.2 times that bound: 37 for E = 128, 73 for 512.

    Figures: ``length``, the mean length, and ``margin``, the mean of m(a), in radians.

    Raises
    ------
    InsightError
        A margin is outside 0 <= m < pi/2, ``u_margin`` is below ``l_margin``, ``l_a`` is not below ``u_a``, or
        ``lambda_g`` is below the least.
    """

    name = "magface"
    OPTIONS = (
        SCALE,
        _not_negative("l_a", "magface: length up to which the margin is --l-margin; 0: 0.45 sqrt(E)"),
        _not_negative("u_a", "magface: length from which the margin is --u-margin; 0: 2.2 sqrt(E)"),
        _margin("l_margin", 0.45, "magface: margin of the shortest embeddings, radians"),
        _margin("u_margin", 0.8, "magface: margin of the longest, radians"),
        _not_negative("lambda_g", "magface: weight of the loss that rewards length; 0: 1.2 times the least that works"),
    )

    def fit(self, embedding_size):
        o, root = self.options, math.sqrt(embedding_size)
        o.l_a = o.l_a or LOW * root
        o.u_a = o.u_a or HIGH * root
        if not o.l_a < o.u_a:
            raise InsightError(f"--l-a {o.l_a:.4g}: must be below --u-a {o.u_a:.4g}")
        if o.u_margin < o.l_margin:
            raise InsightError(f"--u-margin {o.u_margin:g}: must not be below --l-margin {o.l_margin:g}")
        low, high = o.l_a**2, o.u_a**2
        least = self.scale * self._rise * low * high / (high - low)
        o.lambda_g = o.lambda_g or ABOVE_LEAST * least
        if o.lambda_g < least:
            raise InsightError(
                f"--lambda-g {o.lambda_g:g}: below {least:.4g}, the least with --margin-s, --l-a, --u-a and the "
                "margins as they are; raise it, or leave it out"
            )

    @property
    def _rise(self) -> float:
        """d m / d a, in radians per unit of length."""
        o = self.options
        return (o.u_margin - o.l_margin) / (o.u_a - o.l_a)

    def _bounded(self, targets):
        """(B,) arrays: a, m(a), and 1 where the length is within the bounds, else 0."""
        o = self.options
        length_B = targets.F.clip(targets.length_B, o.l_a, o.u_a)
        return length_B, o.l_margin + self._rise * (length_B - o.l_a), length_B == targets.length_B

    def target_logit(self, targets):
        F = targets.F
        _, margin_B, inside_B = self._bounded(targets)
        cos_B, sin_B = clip_cosine(F, targets.cos_B)
        angle_B = F.arccos(cos_B) + margin_B
        shifted_B = cos_B > 0
        plain_B = 1 - shifted_B
        sine_B = shifted_B * F.sin(angle_B)
        new_B = shifted_B * F.cos(angle_B) + plain_B * cos_B
        return TargetLogit(new_B, sine_B / sin_B + plain_B, -self._rise * inside_B * sine_B)

    def own_loss(self, targets):
        F, weight, high = targets.F, self.options.lambda_g, self.options.u_a**2
        length_B, _, inside_B = self._bounded(targets)
        slope_B = inside_B * (1 / high - 1 / F.square(length_B))
        return OwnLoss(weight * (length_B / high + 1 / length_B), F.zeros_like(length_B), weight * slope_B)

    def figures(self, targets):
        return {"length": targets.length_B, "margin": self._bounded(targets)[1]}
