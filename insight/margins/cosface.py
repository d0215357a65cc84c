"""Loss type 2: CosFace, a margin taken off the target's cosine.

Source: Wang et al., "CosFace", arXiv:1801.09414, Eq. 4; the same as AM-Softmax, Wang et al.,
arXiv:1801.05599, Eq. 5. The margin is ``--margin-m``, as in train_softmax.py of
deepinsight/insightface@4bc81321.
"""

from __future__ import annotations

from . import heads
from .margin import Margin, MarginOptions, require


@heads.register("cosface", "amsoftmax", "2")
class CosFace(Margin):
    """cos(theta) - m.

    Raises
    ------
    InsightError
        ``m`` is not above 0.
    """

    name = "cosface"

    def __init__(self, options: MarginOptions):
        super().__init__(options)
        require(options.m > 0, options, "m", "CosFace takes a cosine above 0, such as 0.35")

    def target_logit(self, F, cos_B):
        return cos_B - self.options.m, F.ones_like(cos_B)
