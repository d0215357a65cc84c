"""Distillation: another objective plus a loss on the cosine to a teacher's embedding of the same image.

    L + w (1 - cos(M f_s, f_t))

f_s is the student's embedding and f_t the teacher's. M is a learned linear map if their lengths differ, and the
identity otherwise. The squared distance of the normalised embeddings is 2 (1 - cos), so w is twice its weight.

Source: arXiv:1910.05985 (VarGFaceNet: weight 7 of the squared distance in addition to ArcFace, that is w = 14).

B: batch size per device, E: length of the student's embeddings, T: length of the teacher's embeddings.
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, Optional, Tuple, Type

from .._mxnet import mx
from ..errors import InsightError
from ..margins import margins
from ..options import shown
from ..ranks.group import Ranks
from ..ranks.own_rows import Shard
from . import projection
from .adadistill import AdaDistill
from .objective import Multipliers, Need, Objective, StepResult
from .stage_features import StageFeatures

nd = mx.nd
WEIGHT = 14.0  # default of w, except with --adadistill
FLOAT = 4  # bytes
ARRAYS = 8  # most (B, T) arrays that exist at a time in a step


def around(kind: Type[Objective], run_options: Any, num_classes: int, teacher) -> Distilled:
    """Create the objective of a run with a teacher.

    Parameters
    ----------
    kind : type of Objective
        Objective that ``--loss-type`` selects.
    run_options : insight.train.train_options.TrainOptions
    num_classes : int
        Number of identities in the training set.
    teacher : insight.teach.batch_teacher.BatchTeacher

    Raises
    ------
    InsightError
        As :func:`insight.objectives.create`, or the teacher's embeddings have an unsuitable length.
    """
    weight = run_options.teacher_weight
    if not run_options.adadistill:
        inner, default = kind.from_options(run_options, num_classes), WEIGHT
    elif run_options.loss_type not in margins:
        raise InsightError(
            f"--adadistill: adapts the centres of a margin, and --loss-type {run_options.loss_type} has none"
        )
    else:
        inner, default = AdaDistill.taught_by(teacher, run_options, num_classes), 0.0
    weight = default if weight is None else weight
    return Distilled(inner, teacher, weight, run_options.emb_size, run_options.teacher_features)


class Distilled(Objective):
    """Another objective with an additional loss on the cosine to a teacher's embeddings.

    Methods without a docstring delegate to the other objective, and add the teacher's part where there is one.

    Parameters
    ----------
    inner : Objective
        The other objective.
    teacher : insight.teach.batch_teacher.BatchTeacher
        Or any object with ``dimension``, ``identity``, ``describe()``, and ``rows(batch)``, which returns (B, T)
        float32 rows of length 1.
    weight : float
        w. With 0, the teacher has no effect on the training, and the cosine is only logged.
    embedding_size : int
        E.
    feature_weight : float
        Weight of the loss on stage features (:class:`insight.objectives.stage_features.StageFeatures`), which requires
        a teacher with stage features; 0: no such loss.

    Raises
    ------
    InsightError
        ``weight`` is 0, and there is no other loss or E and T differ.
    """

    def __init__(self, inner: Objective, teacher, weight: float, embedding_size: int, feature_weight: float = 0.0):
        super().__init__()
        if not weight and not inner.labelled:
            raise InsightError("--teacher-weight 0: nothing is learned with --loss-type none; give a weight above 0")
        if not weight and teacher.dimension != embedding_size:
            raise InsightError(
                "--teacher-weight 0: only measures the cosine to the teacher, whose embeddings have "
                f"{teacher.dimension} values, and --emb-size is {embedding_size}, so there is none; give a weight "
                "above 0, or no teacher"
            )
        self.inner, self.teacher, self.weight = inner, teacher, weight
        self.name, self.sampler, self.refines, self.labelled = inner.name, inner.sampler, inner.refines, inner.labelled
        self.line_names = inner.line_names
        self.lr_steps, self.steps, self.lr_delay = inner.lr_steps, inner.steps, inner.lr_delay
        self.params.update(inner.params)
        self.map = None
        if teacher.dimension != embedding_size:
            spread = mx.init.Normal(1 / math.sqrt(embedding_size))
            self.map = self.params.get("teacher_map_weight", shape=(teacher.dimension, embedding_size), init=spread)
        if feature_weight:
            self.stages = StageFeatures(teacher, feature_weight, self.params)

    def describe(self) -> str:
        mapped = ", through a linear map" if self.map else ""
        features = f", {self.stages.describe()}" if self.stages else ""
        return f"{self.inner.describe()}, {self.teacher.describe()}{mapped} weight={shown(self.weight)}{features}"

    def check(self, batch_per_device: int, remedy: str = "") -> None:
        self.inner.check(batch_per_device, remedy)

    def join(self, ranks: Ranks) -> None:
        super().join(ranks)
        self.inner.join(ranks)

    def shards(self) -> Dict[str, Shard]:
        return self.inner.shards()

    def gradients(self) -> list:
        own = [parameter for name, parameter in self.params.items() if name not in self.inner.params]
        return self.inner.gradients() + [gradient for parameter in own for gradient in parameter.list_grad()]

    def memory(self, batch_per_device: int) -> Need:
        need = self.inner.memory(batch_per_device)
        mapped = self.map.shape[0] * self.map.shape[1] if self.map else 0
        step = FLOAT * ARRAYS * batch_per_device * self.teacher.dimension
        if self.stages:
            mapped, step = mapped + self.stages.map_elements, step + self.stages.memory(batch_per_device)
        return need._replace(parameters=need.parameters + mapped, step=need.step + step)

    def initialize(self, initializer, devices: list) -> None:
        self.inner.initialize(initializer, devices)
        if self.map:
            self.map.initialize(ctx=devices)
        if self.stages:
            self.stages.initialize(devices)

    def multipliers(self) -> Dict[str, Multipliers]:
        return self.inner.multipliers()

    def symbol(self, embedding):
        return self.inner.symbol(embedding)

    def adopt(self, arrays: Dict[str, Any], graph: Optional[Any]) -> Tuple[Dict[str, Any], List[str]]:
        return self.inner.adopt(arrays, graph)

    def arrays(self) -> Dict[str, list]:
        return self.inner.arrays()

    def state(self) -> dict:
        return {**self.inner.state(), "teacher": self.teacher.identity}

    def restore(self, state: dict) -> None:
        self.inner.restore({name: value for name, value in state.items() if name != "teacher"})

    def learn(self, embeddings: list, batch, step: int) -> StepResult:
        """Compute the loss and the gradients of one batch; see :meth:`Objective.learn`.

        The figures are those of the other objective, and ``cos_teacher``, the cosine of student and teacher. If the
        other objective has no loss, ``loss`` is w (1 - cos).
        """
        result = self.inner.learn(embeddings, batch, step)
        gradients, cosines, begin = [], [], 0
        rows = self.teacher.rows(batch)
        with mx.autograd.pause():
            for embedding_BE, gradient_BE in zip(embeddings, result.gradients):
                device, end = embedding_BE.context, begin + embedding_BE.shape[0]
                teacher_BT = nd.array(rows[begin:end], ctx=device, dtype="float32")
                cos_B, own_BE = self._towards(embedding_BE.astype("float32", copy=False), teacher_BT)
                cosines.append(cos_B)
                gradients.append(gradient_BE if own_BE is None else gradient_BE + own_BE)
                begin = end
            loss = {} if "loss" in result.figures else {"loss": [self.weight * (1 - cos_B) for cos_B in cosines]}
        return StepResult(gradients, {**loss, **result.figures, "cos_teacher": cosines})

    def _towards(self, embedding_BE, teacher_BT) -> tuple:
        """(cosines (B,), gradient of w (1 - cos) with respect to the embeddings; None if w is 0).

        The gradient of the map is written to its array on this device.
        """
        device = embedding_BE.context
        student_BT = embedding_BE
        if self.map:
            weight_TE = self.map.data(device)
            student_BT = nd.FullyConnected(embedding_BE, weight_TE, no_bias=True, num_hidden=weight_TE.shape[0])
        inverse_B1 = projection.inverse_norms(student_BT).reshape((-1, 1))
        unit_BT = student_BT * inverse_B1
        cos_B1 = nd.sum(unit_BT * teacher_BT, axis=1, keepdims=True)
        if not self.weight:
            return cos_B1.reshape((-1,)), None
        gradient_BT = (cos_B1 * unit_BT - teacher_BT) * (self.weight * inverse_B1)
        if self.map is None:
            return cos_B1.reshape((-1,)), gradient_BT
        weight_TE._fresh_grad = True  # otherwise Gluon's trainer takes the gradient for a stale one
        nd.dot(gradient_BT, embedding_BE, transpose_a=True, out=self.map.grad(device))
        return cos_B1.reshape((-1,)), nd.dot(gradient_BT, weight_TE)
