"""Feature distillation: a loss on the features at the ends of a network's stages, with a teacher's as targets.

    w / S  sum over stages s of  |M_s f_s - t_s|^2 / |t_s|^2

f_s are the student's features of an image, and t_s the teacher's features of the same height and width. The norms are
over channels and positions. M_s is a learned 1x1 convolution if the numbers of channels differ, and the identity
otherwise. Dividing by |t_s|^2 makes the loss independent of the teacher's scale: it is w for features of zero.

Source: FitNets, arXiv:1412.6550, equation 3, which has one stage, a convolutional regressor, and no division.

B: batch size per device, S: number of stages, C and T: channels of student and teacher, H, W: height and width.
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

from .._mxnet import mx
from ..errors import InsightError
from ..options import shown

nd = mx.nd
FLOAT = 4  # bytes
ARRAYS = 6  # most arrays of the size of the stages' features that exist at a time in a step


class FeatureResult(NamedTuple):
    """Result of one batch.

    Attributes
    ----------
    gradients : list of list of NDArray
        For each device and stage float32 (b, C, H, W), d (sum of the samples' losses) / d features.
    error : list of NDArray
        For each device float32 (b,), the mean over the stages of |M f - t|^2 / |t|^2.
    """

    gradients: List[List[Any]]
    error: List[Any]


class StageFeatures:
    """Loss on stage features, with its learned maps.

    Parameters
    ----------
    teacher : insight.teach.stage_teacher.StageTeacher
        Or any object with ``spec``, ``channels`` and ``features(batch, sizes)``.
    weight : float
        w.
    params : mxnet.gluon.ParameterDict
        Receives the weights of the maps, ``teacher_stageHxW_weight``.

    Attributes
    ----------
    sizes : list of (int, int)
        Heights and widths of the features that the loss is computed on.
    """

    def __init__(self, teacher, weight: float, params):
        self.teacher, self.weight, self._params = teacher, weight, params
        self.sizes: List[Tuple[int, int]] = []
        self._maps: Dict[Tuple[int, int], Any] = {}
        self._elements = 0

    def choose(self, channels: Mapping[Tuple[int, int], int]) -> None:
        """Select the stages whose height and width occur in both networks. Called before any allocation.

        Parameters
        ----------
        channels : mapping of (int, int) to int
            Number of channels C of the student's stages, by height and width.

        Raises
        ------
        InsightError
            The networks have no stages of the same height and width.
        """
        theirs = self.teacher.channels
        self.sizes = [size for size in channels if size in theirs]
        if not self.sizes:
            raise InsightError(
                f"--teacher-features {self.weight:g}: no stage of the network ends with features of the size that one "
                f"of --teacher {self.teacher.spec} does; there they are {_list(theirs)}, here {_list(channels)}"
            )
        self._elements = sum(math.prod(size) * (channels[size] + theirs[size]) for size in self.sizes)
        for size in self.sizes:
            if channels[size] != theirs[size]:
                self._maps[size] = self._params.get(
                    f"teacher_stage{_by(size)}_weight",
                    shape=(theirs[size], channels[size], 1, 1),
                    init=mx.init.Normal(1 / math.sqrt(channels[size])),
                )

    def describe(self) -> str:
        """Description for the log: ``features of 28x28, 14x14 weight=60``."""
        return f"features of {_list(self.sizes)} weight={shown(self.weight)}"

    @property
    def map_elements(self) -> int:
        """Number of elements of the maps."""
        return sum(math.prod(weight.shape) for weight in self._maps.values())

    def memory(self, batch_per_device: int) -> int:
        """Bytes that a step allocates on a device."""
        return FLOAT * ARRAYS * batch_per_device * self._elements // 2

    def initialize(self, devices: list) -> None:
        """Allocate the maps."""
        for weight in self._maps.values():
            weight.initialize(ctx=devices)

    def learn(self, features: List[list], batch) -> FeatureResult:
        """Compute the loss and the gradients of one batch; write the gradients of the maps.

        Parameters
        ----------
        features : list of list of NDArray
            For each device and stage in :attr:`sizes` (b, C, H, W) of any float dtype, for the device's contiguous
            share of the batch.
        batch : insight.feed.loader.Batch

        Returns
        -------
        FeatureResult
        """
        targets, begin = self.teacher.features(batch, self.sizes), 0
        gradients, errors = [], []
        for own in features:
            device, end = own[0].context, begin + own[0].shape[0]
            own = [stage.astype("float32").detach() for stage in own]
            for stage in own:
                stage.attach_grad()
            with mx.autograd.record():
                parts = [
                    self._error(size, stage, target[begin:end].as_in_context(device))
                    for size, stage, target in zip(self.sizes, own, targets)
                ]
                error_B = nd.add_n(*parts) / len(parts)
                loss_B = self.weight * error_B
            loss_B.backward()
            gradients.append([stage.grad for stage in own])
            errors.append(error_B.detach())
            begin = end
        return FeatureResult(gradients, errors)

    def _error(self, size: Tuple[int, int], stage, target):
        """(B,): |M f - t|^2 / |t|^2."""
        if size in self._maps:
            weight = self._maps[size].data(stage.context)
            stage = nd.Convolution(stage, weight, no_bias=True, kernel=(1, 1), num_filter=weight.shape[0])
        square_B = nd.sum(nd.square(stage - target), axis=(1, 2, 3))
        return square_B / nd.maximum(nd.sum(nd.square(target), axis=(1, 2, 3)), 1e-12)


def _by(size: Tuple[int, int]) -> str:
    return "x".join(map(str, size))


def _list(sizes) -> str:
    return ", ".join(map(_by, sizes)) or "none"
