"""Interface of a detector."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import Any, ClassVar, Dict, List, Optional

import numpy as np

from ...faces.parts import digest
from ..face import Face


class Detector(abc.ABC):
    """Finds faces and their five landmarks in pixels. A process creates its own; it runs on one thread.

    Parameters
    ----------
    file : str, optional
        The file of ``NAME:FILE``; it exists. None for a detector that takes none.

    Attributes
    ----------
    FILE : str
        What the file is, for messages; "" for a detector that takes none.

    Raises
    ------
    InsightError
        The file is of another kind, or a package is missing.
    """

    FILE: ClassVar[str] = ""

    def __init__(self, file: Optional[str] = None):
        self.file = file

    @abc.abstractmethod
    def detect(self, pixels: np.ndarray, smallest: float) -> List[Face]:
        """Find faces.

        Parameters
        ----------
        pixels : np.ndarray
            RGB uint8 (H, W, 3), C-contiguous.
        smallest : float
            Side of the smallest face to find, in pixels.

        Returns
        -------
        list of Face
            In coordinates of ``pixels``, without a second look. The result depends on nothing but the arguments.
        """

    def identity(self) -> Dict[str, Any]:
        """What the result depends on, as JSON has it: SHA-256 of the weights, and settings."""
        return {"sha256": digest([Path(self.file)])} if self.file else {}
