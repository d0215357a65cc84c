"""What a margin is: a change to the target cosine, and to nothing else.

A margin sees the (B,) cosines between embeddings and their own class centres, never the
(B, C) logits and never the weights. So it costs nothing beside the matrix product, and it
works the same whether the classes are whole, sharded or sampled. What a head wants beyond
that, it says by its attributes, and the classifier supplies it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ..errors import InsightError

SIN_SQUARED_FLOOR = 1e-6  # sin >= 1e-3: below that angle float32 cosines carry no angle any more


@dataclass(frozen=True)
class MarginOptions:
    """The command line's margin flags, under InsightFace's names and with its defaults.

    A head refuses a value that it would ignore (see :attr:`Margin.uses`).

    Attributes
    ----------
    s : float
        Scale of the cosine logits (``--margin-s``), above 0.
    m : float
        Margin (``--margin-m``): radians for ArcFace and its relatives, a cosine for CosFace.
    easy_margin : bool
        ArcFace: apply the margin only where the target cosine is positive.
    a : float
        Combined margin: factor of the angle (``--margin-a``).
    b : float
        Combined margin: taken off the cosine; types 6 and 7: weight of the second loss (``--margin-b``).
    margin : int
        SphereFace: factor of the angle.
    beta, beta_min, beta_freeze, gamma, power
        SphereFace: weight of the plain cosine, and how it falls with the steps.
    """

    s: float = 64.0
    m: float = 0.5
    easy_margin: bool = False
    a: float = 1.0
    b: float = 0.0
    margin: int = 4
    beta: float = 1000.0
    beta_min: float = 5.0
    beta_freeze: int = 0
    gamma: float = 0.12
    power: float = 1.0

    def __post_init__(self):
        if not self.s > 0:
            raise InsightError(f"--margin-s {self.s:g}: the scale must be above 0")


def flag(field: str) -> str:
    """The command line's name of a field of :class:`MarginOptions`."""
    return f"--margin-{field}" if field in ("s", "m", "a", "b") else "--" + field.replace("_", "-")


class Margin:
    """Base of the heads. Subclasses define :meth:`target_logit`.

    Attributes
    ----------
    name : str
        The head's registered name.
    uses : tuple of str
        The fields of :class:`MarginOptions` that act.
    example : MarginOptions
        Options that the head takes, for tests over all heads.
    cosine : bool
        True: weight rows are L2-normalised and there is no bias. False: plain inner products.
    unit_embedding : bool
        True: the embedding is L2-normalised too, and the logits are ``s`` times the cosine.
        False: they are the embedding's own length times the cosine.
    centre_spread : float
        Weight of a loss that the classifier adds to each sample: the mean cosine between the own class's
        centre and every class's, itself included.

    Raises
    ------
    InsightError
        An option that does nothing here differs from its default.
    """

    name = ""
    uses: tuple = ("s", "m")
    example = MarginOptions()
    cosine = True
    unit_embedding = True
    centre_spread = 0.0

    def __init__(self, options: MarginOptions):
        self.options = options
        for field in dataclasses.fields(options):
            value = getattr(options, field.name)
            if field.name not in self.uses and value != field.default:
                used = ", ".join(map(flag, self.uses)) or "no margin option"
                raise InsightError(
                    f"{flag(field.name)} {value:g}: does nothing with --loss-type {self.name}, which uses {used}; "
                    "leave it out or choose another loss type"
                )

    def describe(self) -> str:
        """For the log: ``arcface s=64 m=0.5``; switches that are off are left out."""
        values = {field: getattr(self.options, field) for field in self.uses}
        parts = [key if value is True else f"{key}={value:g}" for key, value in values.items() if value is not False]
        return " ".join([self.name, *parts])

    def at_step(self, step: int) -> None:
        """Called before each step (0-based, counted over the whole run) by heads that anneal."""

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

    def own_loss(self, F, cos_B):
        """A second loss on the target cosine, added to the cross entropy: (loss_B, d loss / d cos), or None."""
        return None


def clip_cosine(F, cos_B):
    """(cos, sin) of angles in 0..pi, rounding beyond +-1 taken off, the sine kept far enough from 0 to divide by."""
    cos_B = F.clip(cos_B, -1.0, 1.0)
    return cos_B, F.sqrt(F.maximum(1.0 - cos_B * cos_B, SIN_SQUARED_FLOOR))


def require(holds: bool, options: MarginOptions, field: str, rule: str) -> None:
    """Refuse an option's value by the one grammar of messages."""
    if not holds:
        raise InsightError(f"{flag(field)} {getattr(options, field):g}: {rule}")
