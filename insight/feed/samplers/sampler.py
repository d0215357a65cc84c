"""What a sampler is: the positions of each batch, as a function of (seed, step) and of what it keeps."""

from __future__ import annotations

import abc
from types import SimpleNamespace
from typing import Any, ClassVar, Dict, Tuple

import numpy as np

from ...options import Option, settle


class Sampler(abc.ABC):
    """Base of the samplers. Subclasses define :meth:`batch`, and declare their options.

    Everything random is a function of ``seed`` and the step (:mod:`insight.feed.draws`), so that a resumed run goes
    on with the same batches. What depends on the batches before is kept as a state, which resume saves.

    Parameters
    ----------
    labels : np.ndarray
        (N,) int64 identities of all images of the set.
    positions : np.ndarray
        (M,) int64 positions of the images that may be used, ascending; M is at least ``batch_size``.
    batch_size : int
        B.
    seed : int
    **values
        Of the options in :attr:`OPTIONS`, by name; the rest takes the defaults.

    Attributes
    ----------
    name : str
        The registered name.
    OPTIONS : tuple of Option
    options : SimpleNamespace
        Each option's value.
    batches_per_epoch : int
        Batches after which an epoch ends: for the schedule, the log, and the draws of augmentation, which an image
        has once in an epoch.

    Raises
    ------
    InsightError
        An option that does nothing here, or a value that it does not take.
    """

    name: ClassVar[str] = ""
    OPTIONS: ClassVar[Tuple[Option, ...]] = ()

    def __init__(self, labels: np.ndarray, positions: np.ndarray, batch_size: int, seed: int, **values: Any):
        self.labels = labels
        self.positions = positions
        self.batch_size = batch_size
        self.seed = seed
        self.options = SimpleNamespace(**settle(self.OPTIONS, values, f"--sampler {self.name}"))
        self.batches_per_epoch = len(positions) // batch_size

    @abc.abstractmethod
    def batch(self, step: int) -> np.ndarray:
        """The images of one batch.

        Parameters
        ----------
        step : int
            0-based, counted over the whole run. Called once for each step, in order, from the step at which the run
            starts or resumes.

        Returns
        -------
        np.ndarray
            (B,) int64, some of :attr:`positions`.
        """

    def state(self) -> Dict[str, Any]:
        """What the next batch depends on beside the seed and the step, for JSON. Later batches must not change it."""
        return {}

    def restore(self, state: Dict[str, Any]) -> None:  # noqa: B027 (most samplers keep nothing)
        """Take back what :meth:`state` gave."""
