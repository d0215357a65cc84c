"""A loss on the features that the stages of a network end with: the teacher's are the targets.

    w / S  sum over stages s of  |M_s f_s - t_s|^2 / |t_s|^2

f_s are the student's features of an image, t_s the teacher's of the same height and width, |.| is over channels and
places. M_s maps each place's channels linearly where the two have another number of them, and is nothing otherwise.

Source: FitNets, arXiv:1412.6550, equation 3, there of one stage, with a regressor of its own and without the division,
by which the loss is 1 for features of zero, whatever the teacher's scale.

B: batch of a device, S: stages, C and T: channels of student and teacher, H, W: height and width of features.
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

from .._mxnet import mx
from ..errors import InsightError
from ..options import shown

nd = mx.nd
FLOAT = 4  # bytes
ARRAYS = 6  # of the size of a stage's features that a step has at a time, at most


class FeatureResult(NamedTuple):
    """What a batch gave.

    Attributes
    ----------
    gradients : list of list of NDArray
        For each device and stage (b, C, H, W) float32.
    error : list of NDArray
        For each device (b,): the mean over the stages of |M f - t|^2 / |t|^2.
    """

    gradients: List[List[Any]]
    error: List[Any]


class StageFeatures:
    """The loss, and the maps that it learns.

    Parameters
    ----------
    teacher : insight.teach.stage_teacher.StageTeacher
        Or anything with ``spec``, ``channels`` and ``features(batch, sizes)``.
    weight : float
        w.
    params : mxnet.gluon.ParameterDict
        Gets the weights of the maps, ``teacher_stageHxW_weight``.

    Attributes
    ----------
    sizes : list of (int, int)
        Heights and widths of the stages that are learned from.
    """

    def __init__(self, teacher, weight: float, params):
        self.teacher, self.weight, self._params = teacher, weight, params
        self.sizes: List[Tuple[int, int]] = []
        self._maps: Dict[Tuple[int, int], Any] = {}
        self._elements = 0

    def choose(self, channels: Mapping[Tuple[int, int], int]) -> None:
        """Choose the stages that both networks have, before anything is allocated.

        Parameters
        ----------
        channels : mapping of (int, int) to int
            C of the stages of the network that is trained, by height and width.

        Raises
        ------
        InsightError
            There are none.
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
        """For the log: ``features of 28x28, 14x14 weight=60``."""
        return f"features of {_list(self.sizes)} weight={shown(self.weight)}"

    @property
    def map_elements(self) -> int:
        """Numbers in the maps."""
        return sum(math.prod(weight.shape) for weight in self._maps.values())

    def memory(self, batch_per_device: int) -> int:
        """Bytes of what a step allocates on a device."""
        return FLOAT * ARRAYS * batch_per_device * self._elements // 2

    def initialize(self, devices: list) -> None:
        """Allocate the maps."""
        for weight in self._maps.values():
            weight.initialize(ctx=devices)

    def learn(self, features: List[list], batch) -> FeatureResult:
        """Loss and gradients of one batch; those of the maps are written.

        Parameters
        ----------
        features : list of list of NDArray
            For each device and stage (b, C, H, W) in any float type, of its contiguous share of the batch.
        batch : insight.feed.loader.Batch
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
