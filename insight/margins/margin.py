"""What a margin is: a change to the logit of the own class, and what may go with it.

A margin sees :class:`~insight.margins.targets.Targets`, (B,) samples with their own classes, never the (B, C) logits
as a whole and never the weights. So it costs nothing beside the matrix product, and it works the same whether the
classes are whole, sharded or sampled.
"""

from __future__ import annotations

import abc
from types import SimpleNamespace
from typing import Any, ClassVar, Dict, NamedTuple, Optional, Tuple

import numpy as np

from ..options import Option, settle, shown
from .targets import Targets

SIN_SQUARED_FLOOR = 1e-6  # sin >= 1e-3: below that angle float32 cosines carry no angle any more
SCALE = Option("margin_s", 64.0, "scale of the cosine logits", holds=lambda s: s > 0, rule="the scale must be above 0")
T_ALPHA = Option(
    "t_alpha",
    0.01,
    "share of a step in the running means of adaface and curricularface",
    holds=lambda share: 0 < share <= 1,
    rule="a share, above 0 and at most 1",
)


class TargetLogit(NamedTuple):
    """The logit that replaces the own class's, in units of the scale: the logit is scale times ``new_B``.

    The scale is :attr:`Margin.scale`, or the embedding's length where ``unit_embedding`` is False. Its own dependence
    on the length is accounted for by the classifier.
    """

    new_B: Any
    slope_B: Any  # d new / d cos, finite everywhere
    length_slope_B: Any = None  # d new / d length; None: 0


class OwnLoss(NamedTuple):
    """A second loss on the targets, added to the cross entropy."""

    loss_B: Any
    slope_B: Any  # d loss / d cos
    length_slope_B: Any = None  # d loss / d length; None: 0


class Margin(abc.ABC):
    """Base of the margins. Subclasses define :meth:`target_logit`, and declare their options.

    Parameters
    ----------
    **values
        Of the options in :attr:`OPTIONS`, by name; the rest takes the defaults.

    Attributes
    ----------
    name : str
        The registered name.
    OPTIONS : tuple of Option
        All that act.
    options : SimpleNamespace
        Each option's value.
    cosine : bool
        True: weight rows are L2-normalised and there is no bias. False: plain inner products.
    unit_embedding : bool
        True: the embedding is L2-normalised too, and the logits are :attr:`scale` times the cosine.
        False: they are the embedding's own length times the cosine.
    centre_spread : float
        Weight of a loss that the classifier adds to each sample: the mean cosine between the own class's
        centre and every class's, itself included.
    modulates : bool
        True: :meth:`others` changes the logits of the other classes.
    lr_steps : tuple of int
        Steps at which the rate falls by default, at a batch of 512.
    example : dict
        Options that the margin takes, for tests over all margins.

    Raises
    ------
    InsightError
        An option that does nothing here, or a value that it does not take.
    """

    name: ClassVar[str] = ""
    OPTIONS: ClassVar[Tuple[Option, ...]] = (SCALE,)
    cosine: ClassVar[bool] = True
    unit_embedding: ClassVar[bool] = True
    centre_spread: float = 0.0
    modulates: ClassVar[bool] = False
    lr_steps: ClassVar[Tuple[int, ...]] = (100_000, 140_000, 160_000)
    example: ClassVar[Dict[str, Any]] = {}

    def __init__(self, **values):
        self.options = SimpleNamespace(**settle(self.OPTIONS, values, f"--loss-type {self.name}"))

    @property
    def scale(self) -> float:
        """s, the logit over the cosine, of a margin with ``unit_embedding``."""
        return self.options.margin_s

    @property
    def lr_delay(self) -> int:
        """Steps by which all falls of the rate are moved back."""
        return 0

    def fit(self, embedding_size: int) -> None:  # noqa: B027 (most fit any)
        """Settle options whose default depends on the length of the embedding, before the first step.

        Raises
        ------
        InsightError
            The values do not fit together.
        """

    def describe(self) -> str:
        """For the log: ``arcface s=64 m=0.5``; switches that are off are left out."""
        parts = [self.name]
        for option in self.OPTIONS:
            key, value = _short(option.name), getattr(self.options, option.name)
            if option.default is False or option.choices == (0, 1):
                parts += [key] * bool(value)
            else:
                parts.append(f"{key}={shown(value)}")
        return " ".join(parts)

    @abc.abstractmethod
    def target_logit(self, targets: Targets) -> TargetLogit:
        """The new logit of the own class, and its slopes.

        Returns
        -------
        TargetLogit
            (B,) arrays, finite for every cosine, rounding beyond -1..1 included.
        """

    def own_loss(self, targets: Targets) -> Optional[OwnLoss]:
        """A second loss on the targets, or None."""
        return None

    def others(self, cos_RC, targets: Targets, new_R) -> Tuple[Any, Any]:
        """With ``modulates``: the logits that replace those of other classes, for some samples of the batch.

        Called several times a step, so that no array of all samples and classes is needed beside the logits.

        Parameters
        ----------
        cos_RC : (R, C) array
            Cosines to all classes, -1..1 up to rounding; it may be overwritten. Entries of the own class are 0, and
            ignored afterwards.
        targets : Targets
            Those samples.
        new_R : (R,) array
            Of :meth:`target_logit`.

        Returns
        -------
        (new_RC, slope_RC)
            In units of the scale, and d new / d cos. They depend on the targets, but no gradient goes that way.
        """
        raise NotImplementedError

    def initial_state(self) -> Dict[str, np.ndarray]:
        """float32 arrays that the margin keeps between steps, with their first values; empty: none.

        They are saved and restored with the run's state.
        """
        return {}

    def update(self, targets: Targets) -> Dict[str, Any]:
        """The state after seeing a batch; called in each step before :meth:`target_logit` by margins with a state.

        Parameters
        ----------
        targets : Targets
            Those of all devices, with the state of the step before.

        Returns
        -------
        dict of str to array
            The same names and shapes as :meth:`initial_state`.
        """
        return {}

    def figures(self, targets: Targets) -> Dict[str, Any]:
        """What the log is to say of a step, by names that :mod:`insight.runs.stepfigures` accepts.

        Called after :meth:`target_logit`, for each device.

        Returns
        -------
        dict of str to array
            (B,) figures of the samples, or one of the state in (1,); the log has their means.
        """
        return {}


def clip_cosine(F, cos_B):
    """(cos, sin) of angles in 0..pi, rounding beyond +-1 taken off, the sine kept far enough from 0 to divide by."""
    cos_B = F.clip(cos_B, -1.0, 1.0)
    return cos_B, F.sqrt(F.maximum(1.0 - cos_B * cos_B, SIN_SQUARED_FLOOR))


def _short(name: str) -> str:
    """``margin_m`` -> ``m``, as descriptions have it."""
    return name[len("margin_") :] if name.startswith("margin_") else name
