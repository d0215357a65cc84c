"""Live teacher that also returns the features at the ends of its stages.

Source: FitNets, arXiv:1412.6550, which uses one layer in the middle of the network.
"""

from __future__ import annotations

from typing import Dict, List, Optional

import numpy as np

from .. import checkpoint
from .._mxnet import mx
from ..engines.mxnet import MXNetEngine
from ..errors import InsightError
from ..formats.faceset import FaceSet
from ..graph import opening, sums
from ..graph.shapes import Size
from .live import LiveTeacher
from .teacher_model import for_set


class FeatureNetwork(MXNetEngine):
    """Engine for a checkpoint that also keeps the last features of each stage.

    Parameters
    ----------
    spec : str
        ``prefix,epoch``.
    image_size : (int, int) or None
        Height and width of the images; None: the size that the checkpoint states.
    device : mxnet.Context or None
        None: the CPU.

    Attributes
    ----------
    channels : dict of (int, int) to int
        Number of channels C of each stage's features, by height and width.
    features : dict of (int, int) to NDArray
        Features of the images of the last call, (N, C, height, width) float32, by height and width.

    Raises
    ------
    InsightError
        The checkpoint cannot be used, its images have another size, or it has no residual stages.
    """

    def __init__(self, spec: str, image_size: Optional[Size], device):
        try:
            opened = opening.open_network(checkpoint.load(*checkpoint.parse_spec(spec, "--teacher")), image_size)
        except InsightError as error:
            raise InsightError(f"--teacher {spec}: {error}") from None
        stages = sums.last_sums(opened.model, opened.size)
        if not stages:
            raise InsightError(f"--teacher {spec}: has no sums of two branches, at which its stages would end")
        inner = [stage.ref.node.name for stage in stages.values()]
        super().__init__(opened, spec, device=device, inner=inner)
        self.channels = {size: stage.channels for size, stage in stages.items()}
        self.features: Dict[Size, mx.nd.NDArray] = {}
        self._parts: list = []

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self._parts = []
        rows = super().__call__(images)
        self.features = {size: mx.nd.concat(*parts, dim=0) for size, parts in zip(self.channels, zip(*self._parts))}
        return rows

    def _run(self, images: np.ndarray) -> np.ndarray:
        embeddings, *features = self._outputs(images)
        self._parts.append(features)
        return embeddings.asnumpy()

    def describe(self) -> str:
        return f"{super().describe()}, with the features of its stages"


class StageTeacher(LiveTeacher):
    """Live teacher from a checkpoint that also returns the features of its stages.

    The parameters and errors are those of :class:`LiveTeacher` and :class:`FeatureNetwork`.

    Attributes
    ----------
    channels : dict of (int, int) to int
        Number of channels C of each stage's features, by height and width.
    """

    def __init__(self, spec: str, faces: FaceSet, device=None):
        super().__init__(spec, faces, device)
        self.channels = self._network.channels

    @staticmethod
    def _open(spec: str, faces: FaceSet, device) -> FeatureNetwork:
        return for_set(spec, faces, lambda size: FeatureNetwork(spec, size, device))

    def features(self, batch, sizes: List[Size]) -> list:
        """Stage features of a batch's images.

        Parameters
        ----------
        batch : insight.feed.loader.Batch
        sizes : list of (int, int)
            Heights and widths of the stages; keys of :attr:`channels`.

        Returns
        -------
        list of NDArray
            For each size (B, C, height, width) float32, on the teacher's device.
        """
        self.rows(batch)
        return [self._network.features[size] for size in sizes]
