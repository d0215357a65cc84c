"""Base class of the margins. A margin replaces the logit of each sample's own class.

A margin gets :class:`~insight.margins.targets.Targets`, the (B,) cosines of the samples to their own classes; it never
gets the weights or the whole (B, C) logits. Its cost is therefore negligible compared with the matrix product, and it
is the same whether the classes are complete, sharded or sampled.

Array names end with their shape: B samples of a device, N of all devices and ranks, R some rows of B, C classes.
"""

from __future__ import annotations

import abc
from types import SimpleNamespace
from typing import Any, ClassVar, Dict, NamedTuple, Optional, Tuple

import numpy as np

from ..options import Option, settle, shown
from .targets import Targets

SIN_SQUARED_FLOOR = 1e-6  # sin >= 1e-3: float32 cosines do not resolve smaller angles
SCALE = Option("margin_s", 64.0, "scale of the cosine logits", holds=lambda s: s > 0, rule="the scale must be above 0")
T_ALPHA = Option(
    "t_alpha",
    0.01,
    "share of a step in the running means of adaface and curricularface",
    holds=lambda share: 0 < share <= 1,
    rule="a share, above 0 and at most 1",
)


class TargetLogit(NamedTuple):
    """The new logit of the own class, without the scale: the logit is scale times ``new_B``.

    The scale is :attr:`Margin.scale`, or the embedding's length if ``unit_embedding`` is False. In the latter case the
    classifier adds the derivative of the scale; ``length_slope_B`` does not contain it.
    """

    new_B: Any
    slope_B: Any  # d new / d cos, finite everywhere
    length_slope_B: Any = None  # d new / d length; None: 0


class OwnLoss(NamedTuple):
    """An additional loss on the targets, added to the cross entropy; (B,) arrays."""

    loss_B: Any
    slope_B: Any  # d loss / d cos
    length_slope_B: Any = None  # d loss / d length; None: 0


class Margin(abc.ABC):
    """Base of the margins. Subclasses define :meth:`target_logit`, and declare their options.

    Parameters
    ----------
    **values
        Values of the options in :attr:`OPTIONS`, by name; missing ones take their defaults.

    Attributes
    ----------
    name : str
        The registered name.
    OPTIONS : tuple of Option
        The options that it uses.
    options : SimpleNamespace
        The value of each option.
    cosine : bool
        True: weight rows are L2-normalised and there is no bias. False: plain inner products.
    unit_embedding : bool
        True: the embedding is L2-normalised too, and the logits are :attr:`scale` times the cosine.
        False: the logits are the embedding's length times the cosine.
    centre_spread : float
        Weight of a loss that the classifier adds to each sample: the mean cosine between the centre of its class and
        the centres of all classes, including its own.
    modulates : bool
        True: :meth:`others` changes the logits of the other classes.
    lr_steps : tuple of int
        Default steps at which the learning rate is lowered, at a batch of 512.
    example : dict
        Valid option values, for tests over all margins.

    Raises
    ------
    InsightError
        An option is set that the margin does not have, or has a value that is not allowed.
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
        """s, the ratio of logit and cosine; only for margins with ``unit_embedding``."""
        return self.options.margin_s

    @property
    def lr_delay(self) -> int:
        """Number of steps by which ``lr_steps`` are postponed."""
        return 0

    def fit(self, embedding_size: int) -> None:  # noqa: B027 (most fit any)
        """Set options whose default depends on the embedding size, before the first step.

        Raises
        ------
        InsightError
            The option values contradict each other.
        """

    def describe(self) -> str:
        """For the log: ``arcface s=64 m=0.5``; switches that are off are left out."""
        parts = [self.name]
        for option in self.OPTIONS:
            key, value = _short(option.name), getattr(self.options, option.name)
            if option.default is False or option.choices == (0, 1):
                if value:
                    parts.append(key)
            else:
                parts.append(f"{key}={shown(value)}")
        return " ".join(parts)

    @abc.abstractmethod
    def target_logit(self, targets: Targets) -> TargetLogit:
        """Compute the new logit of the own class, and its derivatives.

        Returns
        -------
        TargetLogit
            (B,) arrays. They must be finite for every cosine, including values that rounding puts outside -1..1.
        """

    def own_loss(self, targets: Targets) -> Optional[OwnLoss]:
        """An additional loss on the targets, or None."""
        return None

    def others(self, cos_RC, targets: Targets, new_R) -> Tuple[Any, Any]:
        """Compute the new logits of the other classes, for R samples of the batch; called if ``modulates`` is True.

        It is called several times per step, so that no second array of all samples and classes is needed.

        Parameters
        ----------
        cos_RC : (R, C) array
            Cosines to all classes, -1..1 up to rounding; may be overwritten. Entries of the own class are 0, and their
            results are ignored.
        targets : Targets
            The R samples.
        new_R : (R,) array
            Their ``new_B`` of :meth:`target_logit`.

        Returns
        -------
        (new_RC, slope_RC)
            The logits without the scale, and d new / d cos. They may depend on the targets; that dependence gets no
            gradient.
        """
        raise NotImplementedError

    def initial_state(self) -> Dict[str, np.ndarray]:
        """Initial values of the float32 arrays that the margin keeps between steps; empty: it keeps none.

        They are saved and restored with the run's state.
        """
        return {}

    def update(self, targets: Targets) -> Dict[str, Any]:
        """Compute the state after a batch. Called in each step before :meth:`target_logit`, if the margin has a state.

        Parameters
        ----------
        targets : Targets
            The samples of all devices, with the state of the previous step.

        Returns
        -------
        dict of str to array
            The same names and shapes as :meth:`initial_state`.
        """
        return {}

    def figures(self, targets: Targets) -> Dict[str, Any]:
        """Figures of a step for the log, by names that :mod:`insight.runs.stepfigures` accepts.

        Called after :meth:`target_logit`, for each device.

        Returns
        -------
        dict of str to array
            (B,) values of the samples, or (1,) of the state. The log contains their means.
        """
        return {}


def clip_cosine(F, cos_B):
    """(cos, sin) from cosines: cosines are clipped to -1..1, and the sine is at least 1e-3, so that it may divide."""
    cos_B = F.clip(cos_B, -1.0, 1.0)
    return cos_B, F.sqrt(F.maximum(1.0 - cos_B * cos_B, SIN_SQUARED_FLOOR))


def _short(name: str) -> str:
    """``margin_m`` -> ``m``: the name of an option in descriptions."""
    return name[len("margin_") :] if name.startswith("margin_") else name
