"""MXNet as an engine: checkpoints ``prefix,epoch``."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from typing import Optional, Tuple

import numpy as np

from ..errors import InsightError
from . import BATCH, ENGINES, parse_device
from .engine import Engine, Settings, is_checkpoint

# insight._mxnet, and what needs it, is imported when a checkpoint is opened: other engines run without MXNet.


@ENGINES.register("mxnet")
class MXNetEngine(Engine):
    """A checkpoint, evaluated by MXNet itself; safe to call from several threads, one at a time inside.

    A batch is cut into powers of two, and the graph is planned once for each, with its buffers allocated
    once: a short last batch plans nothing anew, and nothing is padded.

    Parameters
    ----------
    checkpoint : insight.checkpoint.Checkpoint or insight.graph.opening.OpenNetwork
        As trained or slimmed; it is cut at the embedding. A network that is open already stays as it is.
    spec : str
        Its name in messages.
    threads, device, graph, batch_size, image_size
        As in :func:`insight.engines.load`.

    Raises
    ------
    InsightError
        It has no embedding layer, lacks arrays, or holds arrays of the wrong shape; or the size of its images is not
        known.
    """

    name = "mxnet"
    SPEC = "prefix,epoch (an MXNet checkpoint: prefix-symbol.json and prefix-0000.params)"

    def __init__(
        self,
        checkpoint,
        spec: str = "the model",
        threads: Optional[int] = None,
        device=None,
        graph: str = "fast",
        batch_size: Optional[int] = None,
        image_size: Optional[Tuple[int, int]] = None,
    ):
        _hold_to(threads)
        from .._mxnet import mx
        from ..graph import fold, opening, shapes, split

        try:
            if isinstance(checkpoint, opening.OpenNetwork):
                network = checkpoint._replace(model=checkpoint.model.copy())  # arrays are taken out of it below
            else:
                network = opening.open_network(checkpoint, image_size)
            model, size, _, notes = network
            del network
            dimension = shapes.dimension(model, size)
        except InsightError as error:
            raise InsightError(f"{spec}: {error}") from None
        if graph == "fast":
            model = split.split(fold.fold(model), size)
        super().__init__(spec, size, dimension, batch_size or BATCH[parse_device(device)[0]], notes)
        self.graph = graph
        self._mx = mx
        self._context = _context(mx, device)
        self._symbol = model.graph.to_symbol()
        self._inputs = [self._moved(model.params, name) for name in self._symbol.list_inputs()]
        self._planned: dict = {}
        self._lock = threading.Lock()

    def _moved(self, params: dict, name: str):
        """An array of the model as MXNet's own, None for the images; taken out, so that it is not held twice."""
        array = params.pop(name, None)
        return None if array is None else self._mx.nd.array(array, ctx=self._context, dtype=array.dtype)

    takes = staticmethod(is_checkpoint)

    @staticmethod
    def installed() -> bool:
        """Whether MXNet is there."""
        return importlib.util.find_spec("mxnet") is not None

    @classmethod
    def open(cls, spec: str, settings: Settings) -> MXNetEngine:
        """Load a checkpoint; see :meth:`Engine.open`."""
        _hold_to(settings.threads)
        from .. import checkpoint

        held = checkpoint.load(*checkpoint.parse_spec(spec))
        options = (settings.threads, settings.device, settings.graph, settings.batch_size, settings.image_size)
        return cls(held, spec, *options)

    def describe(self) -> str:
        """One line: ``MXNet 1.9.1 on cpu(0), fast graph``."""
        return f"MXNet {self._mx.__version__} on {self._context}, {self.graph} graph"

    def _next(self, left: int) -> int:
        return 1 << (min(left, self.batch_size).bit_length() - 1)

    def _run(self, images: np.ndarray) -> np.ndarray:
        mx = self._mx
        with self._lock, mx.autograd.pause(train_mode=False):
            run = self._planned.get(len(images)) or self._plan(len(images))
            data = mx.nd.array(images, ctx=self._context, dtype=np.float32)
            return run(*[data if array is None else array for array in self._inputs]).asnumpy()

    def _plan(self, count: int):
        """The graph for that many images, which keeps its buffers between calls."""
        data = [i for i, array in enumerate(self._inputs) if array is None]
        fixed = [i for i, array in enumerate(self._inputs) if array is not None]
        flags = {"static_alloc": True, "static_shape": True, "data_indices": data, "param_indices": fixed}
        self._planned[count] = self._mx.nd.CachedOp(self._symbol, list(flags.items()))
        return self._planned[count]


def _hold_to(threads: Optional[int]) -> None:
    """Let MXNet have so many threads: it reads the number once, when it is imported.

    Raises
    ------
    InsightError
        It has been imported with another number.
    """
    if threads is None or os.environ.get("OMP_NUM_THREADS") == str(threads):
        return
    if "mxnet" in sys.modules:
        has = os.environ.get("OMP_NUM_THREADS", "its own choice")
        raise InsightError(f"threads {threads}: MXNet has started with {has}; set OMP_NUM_THREADS before it does")
    os.environ["OMP_NUM_THREADS"] = str(threads)


def _context(mx, device):
    kind, number = parse_device(device)
    if kind == "gpu" and mx.context.num_gpus() <= number:
        raise InsightError(f"device gpu({number}): MXNet sees {mx.context.num_gpus()} GPUs; run: insight doctor")
    return mx.Context(kind, number)
