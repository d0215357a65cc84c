"""What an objective asks of a teacher: the embeddings of a batch's images."""

from __future__ import annotations

import abc
from typing import Any, Dict, List, NamedTuple, Optional

import numpy as np

from ..engines import Engine


class TaughtBatch(NamedTuple):
    """The rows of the batch that was asked for last."""

    positions: Any
    rows: np.ndarray


class BatchTeacher(abc.ABC):
    """A network whose embeddings another one learns.

    Attributes
    ----------
    spec : str
        As the command line names it.
    dimension : int
        Length E of an embedding.
    notes : list of str
    is_made : bool
        Whether nothing has to be computed before the first step.
    engine : Engine or None
        What will compute that.
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
        """What makes its embeddings what they are, for JSON: a resumed run must have the same."""

    @abc.abstractmethod
    def describe(self) -> str:
        """For the log."""

    @abc.abstractmethod
    def _embed(self, batch) -> np.ndarray:
        """The rows of :meth:`rows`, for a batch that was not asked for last."""

    def rows(self, batch) -> np.ndarray:
        """Embeddings of a batch's images as they lie in the batch.

        Parameters
        ----------
        batch : insight.feed.loader.Batch

        Returns
        -------
        numpy.ndarray
            (B, E) float32, of length 1.

        Raises
        ------
        InsightError
            One of them is zero or not finite; the message names the record.
        """
        if self._last is None or self._last.positions is not batch.indices:
            self._last = TaughtBatch(batch.indices, self._embed(batch))
        return self._last.rows
