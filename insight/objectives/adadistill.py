"""AdaDistill: a margin whose class centres are moving averages of a teacher's embeddings instead of trained weights.

For each sample of class y, in the order of the batch, with f_s the student's and f_t the teacher's embedding:

    alpha = clip(cos(f_s, f_t) clip(cos(W_y, f_t), 1e-6, 1), 1e-6, 1)
    W_y <- alpha W_y + (1 - alpha) f_t^

where f_t^ = f_t / |f_t|. Then the margin loss of f_s with the centres W is computed; its gradient goes to the student
only. W is stored unnormalised, and normalised in the loss. It is initialised near zero, N(0, 0.01), so that the first
sample of a class sets its centre to about f_t^. A sample changes its centre little if it is near the centre and the
student's embedding is near the teacher's.

Source: arXiv:2407.01332 (with ArcFace, m = 0.45, s = 64). Here the centres are updated with the samples of all devices,
and with those of one class one after another. fc7 has no gradient and no momentum.

B: batch size, E: embedding size, U: number of classes in a batch.
"""

from __future__ import annotations

from typing import Any, Iterator, Optional

import numpy as np

from .._mxnet import mx
from ..errors import InsightError
from ..margins.margin import Margin
from . import projection
from .classification import SHARD_CLASSES, Classification
from .objective import Need, StepResult

nd = mx.nd
LEAST = 1e-6  # lower bound of alpha, and of the cosine between a centre and the teacher's embedding


class AdaDistill(Classification):
    """Classification whose class centres are adapted to a teacher's embeddings.

    The parameters are those of :class:`Classification`, without ``use_bias``. :meth:`taught_by` sets the teacher.

    Raises
    ------
    InsightError
        The margin is not cosine-based.
    """

    selected_by = "--adadistill"
    OPTIONS = (SHARD_CLASSES,)  # the others of Classification are for trained class weights

    def __init__(self, margin: Margin, num_classes: int, embedding_size: int, **more):
        if not margin.cosine:
            raise InsightError(f"--adadistill: centres are directions; --loss-type {margin.name} has no cosine")
        super().__init__(margin, num_classes, embedding_size, **more)
        self.weight.grad_req = "null"
        self.weight.init = mx.init.Normal(0.01)
        self.teacher: Optional[Any] = None

    @classmethod
    def taught_by(cls, teacher, run_options: Any, num_classes: int) -> AdaDistill:
        """Create it with the margin that ``--loss-type`` names, and a teacher as for :class:`Distilled`.

        Raises
        ------
        InsightError
            The teacher's embeddings do not have the length ``--emb-size``.
        """
        if teacher.dimension != run_options.emb_size:
            raise InsightError(
                f"--adadistill: the teacher's embeddings are the centres' directions, so both have one length; the "
                f"teacher has {teacher.dimension} values, --emb-size is {run_options.emb_size}"
            )
        objective = cls.from_options(run_options, num_classes)
        objective.teacher = teacher
        return objective

    def describe(self) -> str:
        return f"{super().describe()} with centres of the teacher (AdaDistill)"

    def memory(self, batch_per_device: int) -> Need:
        need = super().memory(batch_per_device)
        return need._replace(parameters=0, kept=need.parameters)

    def learn(self, embeddings: list, batch, step: int) -> StepResult:
        """As :meth:`Classification.learn`, after an update of the centres with the batch."""
        with mx.autograd.pause():
            self._adapt(embeddings, batch)
        return super().learn(embeddings, batch, step)

    def _adapt(self, embeddings: list, batch) -> None:
        """Update the centres with the samples of all devices and ranks. Each rank updates its copy, or its classes."""
        teacher_BE = self.teacher.rows(batch).astype(np.float64)
        cos_B = np.concatenate([cosine_B.asnumpy() for cosine_B in _cosines(embeddings, teacher_BE)]).astype(np.float64)
        cos_B = self.ranks.gather("adadistill/cosines", cos_B)
        teacher_BE = self.ranks.gather("adadistill/teacher", teacher_BE)
        label_B = self.ranks.gather("adadistill/labels", batch.label.asnumpy().astype(np.int64))
        here_B, begin = (label_B >= self._rows.begin) & (label_B < self._rows.end), self._rows.begin
        if not here_B.any():
            return
        cos_B, teacher_BE, label_B = cos_B[here_B], teacher_BE[here_B], label_B[here_B] - begin
        classes_U, place_B = np.unique(label_B, return_inverse=True)
        first = self.weight.data(embeddings[0].context)
        centres_UE = nd.take(first, nd.array(classes_U, ctx=first.context)).asnumpy().astype(np.float64)
        for rows in _turns(place_B.reshape(-1), np.isfinite(cos_B)):
            _adapt_centres(centres_UE, place_B[rows], cos_B[rows], teacher_BE[rows])
        for weight_CE in self.weight.list_data():
            values_UE = nd.array(centres_UE, ctx=weight_CE.context, dtype="float32")
            index_1U = nd.array(classes_U.reshape((1, -1)), ctx=weight_CE.context)
            nd._internal._scatter_set_nd(weight_CE, values_UE, index_1U, shape=weight_CE.shape, out=weight_CE)


def _cosines(embeddings: list, teacher_BE: np.ndarray) -> Iterator[Any]:
    """Cosines (b,) of each device's embeddings to the teacher's; all are queued before the first is returned."""
    begin, parts = 0, []
    for embedding_BE in embeddings:
        end = begin + embedding_BE.shape[0]
        student_BE = embedding_BE.astype("float32", copy=False)
        rows_BE = nd.array(teacher_BE[begin:end], ctx=embedding_BE.context, dtype="float32")
        parts.append(nd.sum(student_BE * rows_BE, axis=1) * projection.inverse_norms(student_BE))
        begin = end
    return iter(parts)


def _turns(place_B: np.ndarray, used_B: np.ndarray) -> Iterator[np.ndarray]:
    """Divide the samples into groups with at most one sample per class; keep the order of each class's samples.

    Samples are omitted where ``used_B`` is False: embeddings are not finite in a float16 step that overflows, which is
    skipped.
    """
    samples = np.flatnonzero(used_B)
    order = samples[np.argsort(place_B[samples], kind="stable")]
    sorted_places = place_B[order]
    begins = np.searchsorted(sorted_places, sorted_places)
    turn = np.arange(len(order)) - begins
    for number in range(turn.max() + 1 if len(turn) else 0):
        yield order[turn == number]


def _adapt_centres(centres_UE: np.ndarray, place_B: np.ndarray, cos_B: np.ndarray, teacher_BE: np.ndarray) -> None:
    """Update centres in place, each with at most one sample."""
    own_BE = centres_UE[place_B]
    length_B = np.maximum(np.linalg.norm(own_BE, axis=1), np.finfo(np.float32).tiny)
    near_B = np.clip(np.einsum("ij,ij->i", own_BE, teacher_BE) / length_B, LEAST, 1.0)
    alpha_B1 = np.clip(cos_B * near_B, LEAST, 1.0)[:, None]
    centres_UE[place_B] = alpha_B1 * own_BE + (1 - alpha_B1) * teacher_BE
