"""AdaFace: a margin that depends on the embedding's length, as a measure of image quality.

Source: Kim et al., "AdaFace", arXiv:2204.00964, Eq. 14 and 15; head.py of mk-minchul/AdaFace@c60eaa78, whose scripts
set m = 0.4 and h = 0.333.
"""

from __future__ import annotations

import math

import numpy as np

from ..options import Option
from . import margins
from .angle import STRAIGHT_THROUGH, AngularMargin, angle
from .margin import SCALE, T_ALPHA, TargetLogit

LENGTHS = 1e-3, 100.0  # lengths are clipped to this range
END = 1e-3  # minimum distance of cosines from +-1, and of angles from 0 and pi
STEADY = 1e-3  # added to the standard deviation, which divides
PAPER_MEAN, PAPER_STD = 20.0, 100.0
BATCH, PAPER = "batch", "paper"


@margins.register("adaface")
class AdaFace(AngularMargin):
    """cos(theta - m z) - (m + m z), where z in -1..1 is the standardised length of the embedding.

    z = clip(h (|e| - mean) / (std + 0.001), -1, 1). At z = -1 (low image quality) this is ArcFace, at 0 CosFace, and at
    1 cos(theta - m) - 2 m. Mean and standard deviation (divisor n - 1) are exponential moving averages over the batches
    of all devices, updated before a batch uses them. Lengths are clipped to 0.001..100, cosines to +-0.999, and the new
    angle to 0.001..pi - 0.001; where a cosine or angle is clipped, the slope is 0. The length gets no gradient.

    Figures: ``length_mean``, ``length_std``, the running statistics.

    Raises
    ------
    InsightError
        ``m`` is outside 0 <= m < pi, ``h`` is not above 0, ``t_alpha`` is outside 0..1, or ``ada_init`` is unknown.
    """

    name = "adaface"
    OPTIONS = (
        SCALE,
        angle(0.4),
        Option(
            "margin_h",
            0.333,
            "adaface: how far the margin moves for a length that is one deviation from the mean",
            holds=lambda h: h > 0,
            rule="must be above 0 (without it: cosface)",
        ),
        T_ALPHA,
        Option(
            "ada_init",
            BATCH,
            f"adaface: what its statistics start from: {BATCH}, those of the first batch, or {PAPER}, a mean of "
            f"{PAPER_MEAN:g} and a deviation of {PAPER_STD:g}",
            choices=(BATCH, PAPER),
        ),
        STRAIGHT_THROUGH,
    )

    def initial_state(self):
        return {"mean": np.full(1, PAPER_MEAN, np.float32), "std": np.full(1, PAPER_STD, np.float32)}

    def update(self, targets):
        F, mean, std = targets.F, targets.state["mean"], targets.state["std"]
        length_N = F.clip(targets.length_B, *LENGTHS)
        count = length_N.shape[0]
        mean_here = F.mean(length_N)
        std_here = std  # not defined for one image
        if count > 1:
            std_here = F.sqrt(F.sum(F.square(F.broadcast_sub(length_N, mean_here))) / (count - 1))
        first = targets.step == 0 and self.options.ada_init == BATCH
        share = 1.0 if first else self.options.t_alpha
        return {"mean": share * mean_here + (1 - share) * mean, "std": share * std_here + (1 - share) * std}

    def angular_logit(self, targets):
        F, m, state = targets.F, self.options.margin_m, targets.state
        length_B = F.clip(targets.length_B, *LENGTHS)
        deviation_B = F.broadcast_div(F.broadcast_sub(length_B, state["mean"]), state["std"] + STEADY)
        z_B = F.clip(self.options.margin_h * deviation_B, -1.0, 1.0)
        cos_B = F.clip(targets.cos_B, END - 1, 1 - END)
        theta_B = F.arccos(cos_B)
        wanted_B = theta_B - m * z_B
        angle_B = F.clip(wanted_B, END, math.pi - END)
        inside_B = (cos_B == targets.cos_B) * (angle_B == wanted_B)
        slope_B = inside_B * F.sin(angle_B) / F.sin(theta_B)
        return TargetLogit(F.cos(angle_B) - (m + m * z_B), slope_B)

    def figures(self, targets):
        return {"length_mean": targets.state["mean"].copy(), "length_std": targets.state["std"].copy()}
