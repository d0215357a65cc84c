"""What a margin is: a change to the target cosine, and to nothing else.

A margin sees the (B,) cosines between embeddings and their own class centres, never the
(B, C) logits and never the weights. So it costs nothing beside the matrix product, and it
works the same whether the classes are whole, sharded or sampled.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InsightError


@dataclass(frozen=True)
class MarginOptions:
    """The command line's margin flags, under InsightFace's names.

    Attributes
    ----------
    s : float
        Scale of the logits (``--margin-s``), above 0.
    m : float
        Margin (``--margin-m``): radians for ArcFace.
    easy_margin : bool
        ArcFace: apply the margin only where the target cosine is positive.
    """

    s: float = 64.0
    m: float = 0.5
    easy_margin: bool = False

    def __post_init__(self):
        if not self.s > 0:
            raise InsightError(f"--margin-s {self.s:g}: the scale must be above 0")


class Margin:
    """Base of the heads. Subclasses define :meth:`target_logit`.

    Attributes
    ----------
    cosine : bool
        True: embedding and weight rows are L2-normalised and logits are ``s`` times their
        cosine. False: plain inner products with a bias, no scale.
    """

    cosine = True

    def __init__(self, options: MarginOptions):
        self.options = options

    def target_logit(self, F, cos_B):
        """New target cosine and its derivative.

        Parameters
        ----------
        F : module
            ``mx.nd`` or ``mx.sym``.
        cos_B : (B,) array
            Cosine to the own class, in -1..1 up to rounding.

        Returns
        -------
        (new_B, slope_B)
            The cosine that replaces it, and d new / d cos, finite everywhere.
        """
        raise NotImplementedError
