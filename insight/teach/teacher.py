"""A teacher as the command line names it: a model, whose embeddings of the set are computed once, or a file of them."""

from __future__ import annotations

import os
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from .. import engines
from ..errors import InsightError
from ..faces import parts
from ..faces.sources import image_source
from ..files import atomic
from ..formats.faceset import FaceSet
from .teacher_rows import TeacherRows

SUFFIX = ".npz"  # of a file of embeddings; no engine takes it
AUTO, BOTH, ONE = "auto", "both", "one"  # --teacher-flips


class TaughtBatch(NamedTuple):
    """The rows of the batch that was asked for last."""

    positions: Any
    rows: np.ndarray


class Teacher:
    """The embeddings of a set's images by another network.

    Parameters
    ----------
    spec : str
        ``prefix,epoch``, ``model.onnx`` or whatever else an engine takes; or an .npz of ``insight embed``.
    path : str
        Where the embeddings of a model are, or are to be written.
    faces : FaceSet
    fingerprint : str
        Of the set.
    mirrored : bool
        Whether the training mirrors images.
    flips : str
        ``both``: mirrored images have embeddings of their own; ``one``: they have those of the plain images; ``auto``:
        both where the training mirrors images and, of an .npz, where it has them.
    device : optional
        Where a checkpoint is computed, if not on the CPU.

    Attributes
    ----------
    dimension : int
        Length E of an embedding.
    path : str
        The file of the embeddings.
    notes : list of str

    Raises
    ------
    InsightError
        The model or the file cannot be used, or is of another set, or takes images of another size.
    """

    def __init__(
        self,
        spec: str,
        path: str,
        faces: FaceSet,
        fingerprint: str,
        mirrored: bool = True,
        flips: str = AUTO,
        device=None,
    ):
        if flips == BOTH and not mirrored:
            raise InsightError(f"--teacher-flips {BOTH}: no image is mirrored (--rand-mirror 0); leave it out")
        self.spec = spec
        self.is_file = spec.lower().endswith(SUFFIX)
        self.path = spec if self.is_file else path
        self.notes: List[str] = []
        self._faces, self._fingerprint = faces, fingerprint
        self._both = mirrored and flips != ONE
        self._files = [] if self.is_file else engines.model_files(spec)
        self._engine: Optional[engines.Engine] = None
        self._rows: Optional[TeacherRows] = None
        self._last: Optional[TaughtBatch] = None
        if self.is_file or os.path.exists(self.path):
            self._open(flips)
        else:
            self._load(device)

    def _open(self, flips: str = AUTO) -> None:
        rows = TeacherRows(self.path, self._faces, self._fingerprint, self._both)
        if not self.is_file and rows.about.get("model_sha256") != parts.digest(self._files):
            raise InsightError(
                f"{self.path}: has the embeddings of another teacher than --teacher {self.spec}; name another "
                "--teacher-file, or move the file away"
            )
        if self._both and not rows.flips:
            lacks = f"{self.path}: has no embeddings of mirror images"
            if flips == BOTH or not self.is_file:
                raise InsightError(
                    f"{lacks}; embed the set with `insight embed --flip both`, or give --teacher-flips {ONE}"
                )
            self.notes.append(f"{lacks}; mirrored images get those of the plain ones")
        self.dimension, self._rows = rows.dimension, rows

    def _load(self, device) -> None:
        # The fastest engine is one for CPUs; a checkpoint is computed where the training is.
        where = {"device": device} if device is not None and engines.is_checkpoint(self.spec) else {}
        common = {"engine": engines.AUTO, "option": "--teacher", **where}
        has = self._faces.image_size
        try:
            self._engine = engines.load(self.spec, image_size=has, **common)
        except InsightError as error:
            takes = engines.load(self.spec, **common).image_size  # raises the same where the size is not the reason
            if tuple(takes) == tuple(has):
                raise error
            raise InsightError(
                f"--teacher {self.spec}: takes images of {_by(takes)} (height x width), those of "
                f"{self._faces.rec_path} are {_by(has)}; a teacher and what it teaches see the same images"
            ) from None
        atomic.check_output(self.path, "--teacher-file", [*self._files, self._faces.rec_path])
        self.notes += [f"{self.spec}: {note}" for note in self._engine.notes]
        self.dimension = self._engine.dimension

    @property
    def is_made(self) -> bool:
        """Whether the file of the embeddings is there."""
        return self._rows is not None

    @property
    def engine(self) -> Optional[engines.Engine]:
        """What will compute the embeddings; None where they are there."""
        return self._engine

    @property
    def passes(self) -> int:
        """Images that the engine has to embed, mirror images included."""
        return 0 if self.is_made else len(self._faces) * (2 if self._both else 1)

    def make(self) -> None:
        """Compute the embeddings, where that has not been done, or what is left of them after a kill.

        If their file is there by now, as another rank has made it, it is opened.
        """
        if self._engine is None:
            return
        if os.path.exists(self.path):
            self._engine = None
            self._open()
            return
        engine, source, flip = self._engine, image_source(self._faces.rec_path), "both" if self._both else "none"
        about = parts.about(engine, flip, self._files, source)
        parts.embed_to(self.path, engine, source, flip, self._files, about=about, dtype="float16")
        self._engine = None  # its memory is for the training
        self._open()

    @property
    def identity(self) -> Dict[str, Any]:
        """What makes its embeddings what they are, for JSON: a resumed run must have the same."""
        about = self._rows.about if self._rows else parts.about(self._engine, "none", self._files)
        kept = ("model_sha256", "engine", "flip", "image_size")
        both = self._rows.flips if self._rows else self._both
        return {**{name: about.get(name) for name in kept}, "both": both, "dimension": self.dimension}

    def rows(self, batch) -> np.ndarray:
        """Embeddings of a batch's images as they lie in the batch, mirrored or not, otherwise not augmented.

        Parameters
        ----------
        batch : insight.feed.loader.Batch

        Returns
        -------
        numpy.ndarray
            (B, E) float32, of length 1. Before :meth:`make`, the same one for all images.

        Raises
        ------
        InsightError
            One of them is zero or not finite; the message names the record.
        """
        if self._rows is None:  # to estimate how long a step takes
            return np.full((len(batch.indices), self.dimension), self.dimension**-0.5, np.float32)
        if self._last is None or self._last.positions is not batch.indices:
            self._last = TaughtBatch(batch.indices, self._rows.rows(batch.indices, batch.mirrored))
        return self._last.rows

    def describe(self) -> str:
        """For the log: ``taught by models/r100,1 (512 values of image and mirror image)``."""
        both = self._rows.flips if self._rows else self._both
        return f"taught by {self.spec} ({self.dimension} values{' of image and mirror image' if both else ''})"


def _by(size: Tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
