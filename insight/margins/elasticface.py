"""ElasticFace: a margin that is drawn at random for each sample and step.

Source: Boutros et al., "ElasticFace", arXiv:2109.09416, Eq. 5 to 7; losses.py of fdbtrs/ElasticFace@5496ec06. The "+"
losses give the largest margin of a batch to the smallest target cosine. The original code uses argsort indices where it
needs ranks, so that its assignment is practically random; here the cosines are ranked, as in the paper.
"""

from __future__ import annotations

from ..options import Option
from . import margins
from .angle import STRAIGHT_THROUGH, AngularMargin, angle, turned
from .cosface import cosine
from .margin import SCALE, Margin, TargetLogit
from .targets import Targets


def _deviation(default: float) -> Option:
    return Option(
        "margin_std",
        default,
        "elasticface: standard deviation of the margins (0.05; arc_plus: 0.0175, cos_plus: 0.02)",
        holds=lambda deviation: deviation >= 0,
        rule="must be 0 or more",
    )


def _drawn(margin: Margin, targets: Targets):
    """(B,) normally distributed margins; functions of the seed, the step and the sample's index."""
    return margin.options.margin_m + margin.options.margin_std * targets.normal()


def _by_rank(margin: Margin, targets: Targets):
    """The same margins, reordered over the samples of all devices: the smaller the cosine, the larger the margin."""
    whole = targets.whole
    rank_N = whole.F.argsort(whole.F.argsort(whole.cos_B))
    margins_N = whole.F.sort(_drawn(margin, whole), is_ascend=False)
    return targets.own(whole.F.take(margins_N, rank_N))


@margins.register("elasticface_arc", "elasticarcface")
class ElasticFaceArc(AngularMargin):
    """cos(theta + m), m drawn from a normal distribution; beyond theta + m = pi it rises again, as in the original.

    Raises
    ------
    InsightError
        The mean ``m`` is outside 0 <= m < pi, or ``margin_std`` is below 0.
    """

    name = "elasticface_arc"
    OPTIONS = (SCALE, angle(0.5), _deviation(0.05), STRAIGHT_THROUGH)
    _margins = staticmethod(_drawn)

    def angular_logit(self, targets):
        return turned(targets.F, targets.cos_B, 1.0, self._margins(self, targets))


@margins.register("elasticface_arc_plus", "elasticarcfaceplus")
class ElasticFaceArcPlus(ElasticFaceArc):
    """As ``elasticface_arc``; the largest margin goes to the sample with the smallest cosine of all devices."""

    name = "elasticface_arc_plus"
    OPTIONS = (SCALE, angle(0.5), _deviation(0.0175), STRAIGHT_THROUGH)
    _margins = staticmethod(_by_rank)


@margins.register("elasticface_cos", "elasticcosface")
class ElasticFaceCos(Margin):
    """cos(theta) - m, m drawn from a normal distribution.

    Raises
    ------
    InsightError
        The mean ``m`` is not above 0, or ``margin_std`` is below 0.
    """

    name = "elasticface_cos"
    OPTIONS = (SCALE, cosine(0.35), _deviation(0.05))
    _margins = staticmethod(_drawn)

    def target_logit(self, targets):
        new_B = targets.cos_B - self._margins(self, targets)
        return TargetLogit(new_B, targets.F.ones_like(new_B))


@margins.register("elasticface_cos_plus", "elasticcosfaceplus")
class ElasticFaceCosPlus(ElasticFaceCos):
    """As ``elasticface_cos``; the largest margin goes to the sample with the smallest cosine of all devices."""

    name = "elasticface_cos_plus"
    OPTIONS = (SCALE, cosine(0.35), _deviation(0.02))
    _margins = staticmethod(_by_rank)
