"""Interface of a detector."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import Any, ClassVar, Dict, List, Optional

import numpy as np

from ...faces.parts import digest
from ..face import Face


class Detector(abc.ABC):
    """Finds faces and their five landmarks in an image. Each process creates its own; it runs on one thread.

    Parameters
    ----------
    file : str, optional
        The existing file of ``NAME:FILE``; None for a detector that takes none.

    Attributes
    ----------
    FILE : str
        Description of the file for messages; "" for a detector that takes none.

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
            In coordinates of ``pixels``, without a second look. The result depends only on the arguments.
        """

    def identity(self) -> Dict[str, Any]:
        """All that the result depends on, as JSON values: SHA-256 of the weights, settings."""
        return {"sha256": digest([Path(self.file)])} if self.file else {}
