"""Teacher that embeds the augmented images of every step, so that teacher and student get the same input.

Source: arXiv:2106.05237 (Beyer et al., "Knowledge distillation: a good teacher is patient and consistent"), which calls
this consistent teaching. :mod:`insight.teach.teacher` corresponds to its fixed teacher.
"""

from __future__ import annotations

from typing import Any, Dict

import numpy as np

from .. import engines
from ..errors import InsightError
from ..faces import parts
from ..faces.unit import scale_to_unit, without_direction
from ..formats.faceset import FaceSet
from .batch_teacher import BatchTeacher
from .teacher_model import open_teacher


class LiveTeacher(BatchTeacher):
    """Teacher that computes the embeddings of each batch's augmented images in the training step.

    Parameters
    ----------
    spec : str
        ``prefix,epoch``, ``model.onnx`` or any other model that an engine supports.
    faces : FaceSet
        Training set.
    device : mxnet.Context, optional
        Device of a checkpoint; by default the CPU. Other models always run on the CPU.

    Raises
    ------
    InsightError
        The model cannot be used, or its images have another size.
    """

    def __init__(self, spec: str, faces: FaceSet, device=None):
        self.spec = spec
        self._network = self._open(spec, faces, device)
        self._files = engines.model_files(spec)
        self.notes = [f"{spec}: {note}" for note in self._network.notes]
        self.dimension = self._network.dimension

    @staticmethod
    def _open(spec: str, faces: FaceSet, device):
        return open_teacher(spec, faces, device)

    @property
    def identity(self) -> Dict[str, Any]:
        about = parts.about(self._network, "none", self._files)
        kept = ("model_sha256", "engine", "image_size")
        return {**{name: about.get(name) for name in kept}, "live": True, "dimension": self.dimension}

    def _embed(self, batch) -> np.ndarray:
        rows = np.array(self._network(batch.data.asnumpy()), np.float32)
        unusable = without_direction(rows)
        if unusable.any():
            key = batch.keys[int(np.argmax(unusable))]
            raise InsightError(
                f"--teacher {self.spec}: its embedding of record {key}, as it was augmented, is zero or not finite, so "
                "it has no direction; the teacher is damaged"
            )
        return scale_to_unit(rows)

    def describe(self) -> str:
        """Description for the log: ``taught by models/r100,1 (512 values of each image as augmented)``."""
        return f"taught by {self.spec} ({self.dimension} values of each image as augmented)"
