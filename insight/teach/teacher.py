"""Teacher with stored embeddings: a model whose embeddings of the set are computed once, or a file of embeddings."""

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

SUFFIX = ".npz"  # of a file of embeddings; no engine uses it for models
AUTO, BOTH, ONE = "auto", "both", "one"  # values of --teacher-flips


class Teacher(BatchTeacher):
    """Teacher whose embeddings of the set's images, without augmentation except mirroring, are stored in a file.

    Parameters
    ----------
    spec : str
        ``prefix,epoch``, ``model.onnx`` or any other model that an engine supports; or an .npz file written by
        ``insight embed``.
    path : str
        File of the embeddings if ``spec`` is a model; it is written by :meth:`make` if missing.
    faces : FaceSet
        Training set.
    fingerprint : str
        Fingerprint of the set.
    mirrored : bool
        Whether images are mirrored in training.
    flips : {"auto", "both", "one"}
        ``both``: mirrored images have embeddings of their own. ``one``: they have the embeddings of the plain images.
        ``auto``: ``both`` if images are mirrored in training, except for an .npz file without embeddings of mirror
        images.
    device : mxnet.Context, optional
        Device of a checkpoint; by default the CPU. Other models always run on the CPU.

    Attributes
    ----------
    dimension : int
        Length E of an embedding.
    path : str
        File of the embeddings.
    notes : list of str
        Notes for the log.

    Raises
    ------
    InsightError
        The model or the file cannot be used, belongs to another set, or is for images of another size.
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
        """Whether the file of the embeddings exists and has been opened."""
        return self._rows is not None

    @property
    def engine(self) -> Optional[engines.Engine]:
        """Engine that will compute the embeddings; None if they exist."""
        return self._engine

    @property
    def passes(self) -> int:
        """Number of images that the engine has to embed, including mirror images."""
        return 0 if self.is_made else len(self._faces) * (2 if self._both else 1)

    def make(self) -> None:
        """Compute the embeddings and open their file; does nothing if they exist. Resumes an interrupted computation.

        If another rank has written the file in the meantime, the file is opened instead.
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
        self._engine = None  # frees its memory for the training
        self._open()

    @property
    def identity(self) -> Dict[str, Any]:
        about = self._rows.about if self._rows else parts.about(self._engine, "none", self._files)
        kept = ("model_sha256", "engine", "flip", "image_size")
        both = self._rows.flips if self._rows else self._both
        return {**{name: about.get(name) for name in kept}, "both": both, "dimension": self.dimension}

    def _embed(self, batch) -> np.ndarray:
        """Read the stored embeddings of the images, mirrored or plain."""
        if self._rows is None:  # `--estimate` times steps before the embeddings exist: equal rows will do
            return np.full((len(batch.indices), self.dimension), self.dimension**-0.5, np.float32)
        return self._rows.rows(batch.indices, batch.mirrored)

    def describe(self) -> str:
        """Description for the log: ``taught by models/r100,1 (512 values of image and mirror image)``."""
        both = self._rows.flips if self._rows else self._both
        return f"taught by {self.spec} ({self.dimension} values{' of image and mirror image' if both else ''})"
