"""A live teacher that also shows the features that its stages end with.

Source: FitNets, arXiv:1412.6550, there of one layer in the middle.
"""

from __future__ import annotations

import warnings
from typing import Dict, List, Tuple

import numpy as np

from .. import checkpoint
from .._mxnet import mx
from ..errors import InsightError
from ..formats.faceset import FaceSet
from ..graph import fold, opening, shapes, sums
from ..graph.cut import INPUT
from .live import LiveTeacher

Size = Tuple[int, int]  # (height, width) of features


class FeatureNetwork:
    """A checkpoint that gives embeddings, and keeps the last features of each stage.

    Parameters
    ----------
    spec : str
        ``prefix,epoch``.
    image_size : (int, int)
        Height and width of the images.
    device : mxnet.Context

    Attributes
    ----------
    dimension : int
        Length E of an embedding.
    channels : dict of (int, int) to int
        Of the features of each stage, by height and width.
    features : dict of (int, int) to NDArray
        Those of the images of the last call, (N, C, height, width) float32.

    Raises
    ------
    InsightError
        The checkpoint cannot be used, takes images of another size, or has no residual stages.
    """

    def __init__(self, spec: str, image_size: Size, device):
        try:
            opened = opening.open_network(checkpoint.load(*checkpoint.parse_spec(spec, "--teacher")), image_size)
        except InsightError as error:
            raise InsightError(f"--teacher {spec}: {error}") from None
        if tuple(opened.size) != tuple(image_size):
            raise InsightError(
                f"--teacher {spec}: takes images of {_by(opened.size)}, the set has {_by(image_size)} (height x width)"
            )
        self.image_size, self.notes, self._device = opened.size, opened.notes, device
        model = fold.fold(opened.model)
        self.dimension = shapes.dimension(model, image_size)
        stages = sums.last_sums(model, image_size)
        if not stages:
            raise InsightError(f"--teacher {spec}: has no sums of two branches, at which its stages would end")
        self.channels = {size: stage.channels for size, stage in stages.items()}
        self.features: Dict[Size, mx.nd.NDArray] = {}
        model.graph.outputs += [stage.ref for stage in stages.values()]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it cannot tell the type of the images, which is float32
            self._block = mx.gluon.SymbolBlock(model.graph.to_symbol(), mx.sym.Variable(INPUT))
        for name, parameter in self._block.collect_params().items():
            parameter.shape = model.params[name].shape
            parameter.initialize(ctx=device)
            parameter.set_data(mx.nd.array(model.params[name], ctx=device))
        self._block.hybridize(static_alloc=True, static_shape=True)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(N, 3, H, W) RGB pixels, 0..255, to (N, E) float32 embeddings, not normalised."""
        with mx.autograd.pause(train_mode=False):
            embeddings, *features = self._block(mx.nd.array(images, ctx=self._device, dtype="float32"))
        self.features = dict(zip(self.channels, features))
        return embeddings.asnumpy()

    def describe(self) -> str:
        """For the identity of a run's teacher."""
        return f"MXNet {mx.__version__} on {self._device}, with the features of its stages"


class StageTeacher(LiveTeacher):
    """As :class:`LiveTeacher`, with the features of its stages; of a checkpoint.

    Attributes
    ----------
    channels : dict of (int, int) to int
        Of the features of each stage, by height and width.
    """

    def __init__(self, spec: str, faces: FaceSet, device=None):
        super().__init__(spec, faces, device)
        self.channels = self._network.channels

    @staticmethod
    def _open(spec: str, faces: FaceSet, device) -> FeatureNetwork:
        return FeatureNetwork(spec, faces.image_size, device or mx.cpu())

    def features(self, batch, sizes: List[Size]) -> list:
        """Features of a batch's images.

        Parameters
        ----------
        batch : insight.feed.loader.Batch
        sizes : list of (int, int)
            Heights and widths, of those in :attr:`channels`.

        Returns
        -------
        list of NDArray
            For each size (B, C, height, width) float32, on the teacher's device.
        """
        self.rows(batch)
        return [self._network.features[size] for size in sizes]

    def describe(self) -> str:
        """For the log."""
        sides = ", ".join(_by(size) for size in self.channels)
        return f"{super().describe()} and by its features of {sides}"


def _by(size: Size) -> str:
    return "x".join(map(str, size))
