"""Base class of teachers, which give an objective the embeddings of a batch's images."""

from __future__ import annotations

import abc
from typing import Any, Dict, List, NamedTuple, Optional

import numpy as np

from ..engines import Engine


class TaughtBatch(NamedTuple):
    """Embeddings of the last batch, cached by the identity of its array of positions."""

    positions: Any
    rows: np.ndarray


class BatchTeacher(abc.ABC):
    """Base class of teachers: networks whose embeddings are targets for another network.

    Attributes
    ----------
    spec : str
        The teacher as given on the command line.
    dimension : int
        Length E of an embedding.
    notes : list of str
        Notes for the log.
    is_made : bool
        False if embeddings must be computed before the first step.
    engine : Engine or None
        Engine that will compute them.
    """

    spec: str
    dimension: int
    notes: List[str]
    is_made: bool = True
    engine: Optional[Engine] = None
    _last: Optional[TaughtBatch] = None

    @property
    @abc.abstractmethod
    def identity(self) -> Dict[str, Any]:
        """JSON-serialisable properties that determine the embeddings. They must not change when a run is resumed."""

    @abc.abstractmethod
    def describe(self) -> str:
        """Description for the log."""

    @abc.abstractmethod
    def _embed(self, batch) -> np.ndarray:
        """Compute the result of :meth:`rows`, which caches it."""

    def rows(self, batch) -> np.ndarray:
        """Embeddings of a batch's images, in the order of the batch.

        Parameters
        ----------
        batch : insight.feed.loader.Batch

        Returns
        -------
        numpy.ndarray
            (B, E) float32, rows of length 1.

        Raises
        ------
        InsightError
            An embedding is zero or not finite; the message names the record.
        """
        if self._last is None or self._last.positions is not batch.indices:
            self._last = TaughtBatch(batch.indices, self._embed(batch))
        return self._last.rows
