"""Base class of the samplers, which choose the images of each batch."""

from __future__ import annotations

import abc
from types import SimpleNamespace
from typing import Any, ClassVar, Dict, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from ...options import Option, settle


class Mined(NamedTuple):
    """Result of a mining round, for the log.

    Attributes
    ----------
    images : int
        Number of images that were embedded.
    begin : int
        Place of the first of them in the sampler's walk through the set.
    triplets : int
        Number of triplets that were picked.
    queued : int
        Number of images in the queue of batches.
    seconds : tuple of float
        Total time so far of choosing images, of embedding them, and of picking triplets.
    """

    images: int
    begin: int
    triplets: int
    queued: int
    seconds: Tuple[float, ...]


class Sampler(abc.ABC):
    """Base of the samplers. Subclasses define :meth:`batch`, and declare their options.

    Random numbers are functions of ``seed`` and the step (:mod:`insight.feed.draws`), so that a resumed run continues
    with the same batches. A sampler that depends on earlier batches keeps a state, which is saved for resuming.

    A sampler whose batches depend on the network requests embeddings by :meth:`look` and receives them by
    :meth:`mine`; others define neither.

    Parameters
    ----------
    labels : np.ndarray
        (N,) int32 identities of all images of the set.
    positions : np.ndarray
        (M,) integers: positions of the images that may be used, ascending; M is at least ``batch_size``.
    batch_size : int
        B.
    seed : int
    devices : int
        Number of devices; each gets a contiguous part of the batch, all of equal size.
    **values
        Values of the options in :attr:`OPTIONS`, by name; missing ones take their defaults.

    Attributes
    ----------
    name : str
        The registered name.
    selected_by : str
        The option that selects it, for messages; empty: ``--sampler NAME``.
    OPTIONS : tuple of Option
    ELSEWHERE : dict of str to str
        Name of another sampler's option to the option that selects that sampler. The message that refuses the former
        suggests the latter.
    MULTIPLE : int
        The number of images per device must be a multiple of it.
    options : SimpleNamespace
        The value of each option.
    notes : list of str
        Notes on unusual properties of the set or the options, for the log.
    batches_per_epoch : int
        Length of an epoch in batches, for the schedule, the log and augmentation, which is drawn anew in each epoch.

    Raises
    ------
    InsightError
        An option is set that the sampler does not have, or has a value that it does not accept.
    """

    name: ClassVar[str] = ""
    selected_by: ClassVar[str] = ""
    OPTIONS: ClassVar[Tuple[Option, ...]] = ()
    ELSEWHERE: ClassVar[Mapping[str, str]] = {}
    MULTIPLE: ClassVar[int] = 1

    def __init__(
        self, labels: np.ndarray, positions: np.ndarray, batch_size: int, seed: int, devices: int = 1, **values: Any
    ):
        self.labels = labels
        self.positions = positions
        self.batch_size = batch_size
        self.seed = seed
        self.devices = devices
        self.notes: List[str] = []
        user = self.selected_by or f"--sampler {self.name}"
        self.options = SimpleNamespace(**settle(self.OPTIONS, values, user, elsewhere=self.ELSEWHERE))
        self.batches_per_epoch = len(positions) // batch_size

    @abc.abstractmethod
    def batch(self, step: int) -> np.ndarray:
        """The images of one batch.

        Parameters
        ----------
        step : int
            0-based, counted over the whole run. The method is called once for each step, in order, from the step at
            which the run starts or resumes.

        Returns
        -------
        np.ndarray
            (B,) integers, each one of :attr:`positions`.
        """

    def round(self, step: int) -> int:
        """The ``epoch`` argument of :meth:`Augmentation.draw` for a step's images: by default the step's epoch."""
        return step // self.batches_per_epoch

    def buffer(self, step: int) -> Optional[int]:
        """Number of the last buffer from which a step's batch takes images; None: the sampler has no buffers.

        Buffers are numbered from 0 over the whole run. All images of a buffer are read together, in the order of the
        .rec, before the first batch that uses them. Without buffers, each image is read when it is used.
        """
        return None

    def buffered(self, number: int, rows: range) -> np.ndarray:
        """(n,) positions, ascending, of those images of a buffer that will be at the given rows of a batch."""
        raise NotImplementedError

    @property
    def looked_at(self) -> int:
        """Number of images that :meth:`look` requests at a time, for the memory estimate; 0: it requests none."""
        return 0

    def look(self, step: int) -> Optional[np.ndarray]:
        """Request embeddings by the present network, which a step's batch depends on.

        Called before :meth:`batch`, and again after each :meth:`mine`, until it returns None.

        Returns
        -------
        np.ndarray or None
            (N,) int64 positions of the images to embed; None: the batch needs no (more) embeddings.
        """
        return None

    def mine(self, embeddings: np.ndarray) -> Mined:
        """Receive the embeddings of the images that :meth:`look` requested last.

        Parameters
        ----------
        embeddings : np.ndarray
            (N, E) float32, not normalised.

        Raises
        ------
        InsightError
            There is nothing left to learn from them.
        """
        raise NotImplementedError

    def state(self) -> Dict[str, Any]:
        """State that, with the seed and the step, determines the next batch; for JSON.

        The sampler must not modify the returned objects afterwards.
        """
        return {}

    def restore(self, state: Dict[str, Any]) -> None:  # noqa: B027 (most samplers keep nothing)
        """Restore what :meth:`state` returned."""
