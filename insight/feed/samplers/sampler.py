"""What a sampler is: the positions of each batch, as a function of (seed, step) and of what it keeps."""

from __future__ import annotations

import abc
from types import SimpleNamespace
from typing import Any, ClassVar, Dict, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from ...options import Option, settle


class Mined(NamedTuple):
    """What a sampler made of a round of embeddings, for the log.

    Attributes
    ----------
    images : int
        That were embedded.
    begin : int
        Of them in the sampler's walk through the set.
    triplets : int
        That were picked.
    queued : int
        Images of all batches that wait.
    seconds : tuple of float
        In all so far, of choosing images, embedding them and picking.
    """

    images: int
    begin: int
    triplets: int
    queued: int
    seconds: Tuple[float, ...]


class Sampler(abc.ABC):
    """Base of the samplers. Subclasses define :meth:`batch`, and declare their options.

    Everything random is a function of ``seed`` and the step (:mod:`insight.feed.draws`), so that a resumed run goes
    on with the same batches. What depends on the batches before is kept as a state, which resume saves.

    A sampler whose batches depend on the network names by :meth:`look` the images that it needs embedded, and gets
    their embeddings by :meth:`mine`; the others define neither.

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
        That share each batch, in contiguous equal parts.
    **values
        Of the options in :attr:`OPTIONS`, by name; the rest takes the defaults.

    Attributes
    ----------
    name : str
        The registered name.
    selected_by : str
        How messages name it; empty: ``--sampler NAME``.
    OPTIONS : tuple of Option
    ELSEWHERE : dict of str to str
        Option of another sampler, to what selects that one; a message that refuses the option offers it.
    MULTIPLE : int
        The images of a device's part of a batch are a multiple of it.
    options : SimpleNamespace
        Each option's value.
    notes : list of str
        What is unusual about the set or the options, for the log.
    batches_per_epoch : int
        Batches after which an epoch ends: for the schedule, the log, and the draws of augmentation, which an image
        has once in an epoch.

    Raises
    ------
    InsightError
        An option that does nothing here, or a value that it does not take.
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
            0-based, counted over the whole run. Called once for each step, in order, from the step at which the run
            starts or resumes.

        Returns
        -------
        np.ndarray
            (B,) integers, some of :attr:`positions`.
        """

    def round(self, step: int) -> int:
        """The number that an image's augmentation depends on, beside the seed and the image: of the step's epoch."""
        return step // self.batches_per_epoch

    def buffer(self, step: int) -> Optional[int]:
        """The last of the buffers that a step's batch takes images of, counted from 0 over the whole run, in order.

        The images of a buffer are read together, in the order of the .rec, before its first batch is made. None:
        there are no buffers, and each image is read when it is used.
        """
        return None

    def buffered(self, number: int, rows: range) -> np.ndarray:
        """(n,) positions of the images in a buffer that are at some rows of a batch, ascending."""
        raise NotImplementedError

    @property
    def looked_at(self) -> int:
        """How many images :meth:`look` names at once, for the memory prediction; 0: it never does."""
        return 0

    def look(self, step: int) -> Optional[np.ndarray]:
        """Images that the network must embed, as it is after the steps before, so that a step's batch can be given.

        Called before :meth:`batch`, and again after :meth:`mine`, until it returns None.

        Returns
        -------
        np.ndarray or None
            (N,) int64 positions; None: the batch can be given.
        """
        return None

    def mine(self, embeddings: np.ndarray) -> Mined:
        """Take the (N, E) float32 embeddings, not normalised, of the images that :meth:`look` named last.

        Raises
        ------
        InsightError
            There is nothing to learn in them.
        """
        raise NotImplementedError

    def state(self) -> Dict[str, Any]:
        """What the next batch depends on beside the seed and the step, for JSON. Later batches must not change it."""
        return {}

    def restore(self, state: Dict[str, Any]) -> None:  # noqa: B027 (most samplers keep nothing)
        """Take back what :meth:`state` gave."""
