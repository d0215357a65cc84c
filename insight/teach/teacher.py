"""A teacher as the command line names it: a model, whose embeddings of the set are computed once, or a file of them."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

import numpy as np

from .. import engines
from ..errors import InsightError
from ..faces import parts
from ..faces.sources import image_source
from ..files import atomic
from ..formats.faceset import FaceSet
from .batch_teacher import BatchTeacher
from .teacher_model import open_teacher
from .teacher_rows import TeacherRows

SUFFIX = ".npz"  # of a file of embeddings; no engine takes it
AUTO, BOTH, ONE = "auto", "both", "one"  # --teacher-flips


class Teacher(BatchTeacher):
    """The embeddings of a set's plain images by another network, in a file.

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
        self.dimension, self._rows, self._last = rows.dimension, rows, None

    def _load(self, device) -> None:
        self._engine = open_teacher(self.spec, self._faces, device)
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
        about = self._rows.about if self._rows else parts.about(self._engine, "none", self._files)
        kept = ("model_sha256", "engine", "flip", "image_size")
        both = self._rows.flips if self._rows else self._both
        return {**{name: about.get(name) for name in kept}, "both": both, "dimension": self.dimension}

    def _embed(self, batch) -> np.ndarray:
        """Of the images, mirrored or not, otherwise not augmented. Before :meth:`make`, the same one for all."""
        if self._rows is None:  # to estimate how long a step takes
            return np.full((len(batch.indices), self.dimension), self.dimension**-0.5, np.float32)
        return self._rows.rows(batch.indices, batch.mirrored)

    def describe(self) -> str:
        """For the log: ``taught by models/r100,1 (512 values of image and mirror image)``."""
        both = self._rows.flips if self._rows else self._both
        return f"taught by {self.spec} ({self.dimension} values{' of image and mirror image' if both else ''})"
