"""Plain MXNet, the reference of the benchmark: the symbol of a checkpoint is bound and evaluated as in InsightFace.

The graph up to ``fc1_output`` is evaluated unchanged, without folding, static planning or smaller batches.
"""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np

from .. import checkpoint
from .._mxnet import mx
from ..errors import InsightError
from ..graph import cut, opening


class PlainMXNet:
    """A checkpoint that is called like an :class:`insight.engines.engine.Engine`. Not thread-safe.

    Parameters
    ----------
    spec : str
        ``prefix,epoch``.
    batch_size : int
        Maximum number of images per batch.
    image_size : (int, int), optional
        As in :func:`insight.engines.load`.

    Raises
    ------
    InsightError
        A file is missing or damaged, the graph has no ``fc1_output``, or the image size is unknown.
    """

    def __init__(self, spec: str, batch_size: int, image_size: Optional[Tuple[int, int]] = None):
        self._checkpoint = checkpoint.load(*checkpoint.parse_spec(spec))
        try:
            _, self.image_size, _, self.notes = opening.open_network(self._checkpoint, image_size)
        except InsightError as error:
            raise InsightError(f"{spec}: {error}") from None
        self._symbol = self._checkpoint.symbol.get_internals()[f"{cut.EMBEDDING}_output"]
        self._batch_size = batch_size
        self._bound: dict = {}

    def describe(self) -> str:
        """One line: ``MXNet 1.9.1 on cpu(0), unchanged symbol``."""
        return f"MXNet {mx.__version__} on cpu(0), unchanged symbol"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Embed images (N, 3, H, W) uint8 or float32, RGB, 0..255. Returns (N, E) float32, not normalised."""
        starts = range(0, len(images), self._batch_size)
        return np.concatenate([self._forward(images[start : start + self._batch_size]) for start in starts])

    def _forward(self, images: np.ndarray) -> np.ndarray:
        if images.shape not in self._bound:
            executor = self._symbol.simple_bind(mx.cpu(), data=images.shape, grad_req="null")
            executor.copy_params_from(self._checkpoint.arg_params, self._checkpoint.aux_params, allow_extra_params=True)
            self._bound[images.shape] = executor
        data = mx.nd.array(images, dtype=np.float32)
        return self._bound[images.shape].forward(is_train=False, data=data)[0].asnumpy()
