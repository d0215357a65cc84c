"""MXNet engine, for checkpoints ``prefix,epoch``."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from typing import Optional, Sequence, Tuple

import numpy as np

from ..errors import InsightError
from . import BATCH, ENGINES, parse_device
from .engine import Engine, Settings, is_checkpoint

# insight._mxnet and modules that need it are imported when a checkpoint is opened: other engines do not need MXNet.


@ENGINES.register("mxnet")
class MXNetEngine(Engine):
    """A checkpoint evaluated by MXNet. Thread-safe; calls are serialised.

    Batch sizes are powers of two. For each size the graph is planned and its buffers are allocated once, so that a
    short last batch needs neither a new plan nor padding.

    Parameters
    ----------
    checkpoint : insight.checkpoint.Checkpoint or insight.graph.opening.OpenNetwork
        A trained or slimmed checkpoint, which is cut at the embedding; or a network that is already open, which is not
        modified.
    spec : str
        Name of the model in error messages.
    threads, device, graph, batch_size, image_size
        As in :func:`insight.engines.load`.
    inner : sequence of str
        Names of nodes, other than PReLUs, whose outputs :meth:`_outputs` returns too.

    Raises
    ------
    InsightError
        The checkpoint has no embedding layer, arrays are missing or have the wrong shape, the image size is unknown,
        the device is missing, or MXNet has started with another number of threads.
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
        inner: Sequence[str] = (),
    ):
        _set_threads(threads)
        from .._mxnet import mx
        from ..graph import fold, opening, shapes, split
        from ..graph.nodes import Ref

        try:
            if isinstance(checkpoint, opening.OpenNetwork):
                network = checkpoint._replace(model=checkpoint.model.copy())  # _moved removes arrays from it
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
        model.graph.outputs += [Ref(model.graph.find(name)) for name in inner]
        self._symbol = model.graph.to_symbol()
        self._inputs = [self._moved(model.params, name) for name in self._symbol.list_inputs()]
        self._planned: dict = {}
        self._lock = threading.Lock()

    def _moved(self, params: dict, name: str):
        """A parameter as mxnet.nd.NDArray; None for the images. It is removed from ``params`` to keep only one copy."""
        array = params.pop(name, None)
        return None if array is None else self._mx.nd.array(array, ctx=self._context, dtype=array.dtype)

    takes = staticmethod(is_checkpoint)

    @staticmethod
    def installed() -> bool:
        """Whether MXNet is installed."""
        return importlib.util.find_spec("mxnet") is not None

    @classmethod
    def open(cls, spec: str, settings: Settings) -> MXNetEngine:
        """Load a checkpoint; see :meth:`Engine.open`."""
        _set_threads(settings.threads)
        from .. import checkpoint

        saved = checkpoint.load(*checkpoint.parse_spec(spec))
        options = (settings.threads, settings.device, settings.graph, settings.batch_size, settings.image_size)
        return cls(saved, spec, *options)

    def describe(self) -> str:
        """One line: ``MXNet 1.9.1 on cpu(0), fast graph``."""
        return f"MXNet {self._mx.__version__} on {self._context}, {self.graph} graph"

    def _next(self, left: int) -> int:
        return 1 << (min(left, self.batch_size).bit_length() - 1)

    def _run(self, images: np.ndarray) -> np.ndarray:
        return self._outputs(images)[0].asnumpy()

    def _outputs(self, images: np.ndarray) -> list:
        """Embeddings of a batch, then the outputs of the ``inner`` nodes: a list of mxnet.nd.NDArray."""
        mx = self._mx
        with self._lock, mx.autograd.pause(train_mode=False):
            run = self._planned.get(len(images)) or self._plan(len(images))
            data = mx.nd.array(images, ctx=self._context, dtype=np.float32)
            outputs = run(*[data if array is None else array for array in self._inputs])
            return outputs if isinstance(outputs, list) else [outputs]

    def _plan(self, count: int):
        """Plan the graph for ``count`` images. It keeps its buffers between calls."""
        data = [i for i, array in enumerate(self._inputs) if array is None]
        fixed = [i for i, array in enumerate(self._inputs) if array is not None]
        flags = {"static_alloc": True, "static_shape": True, "data_indices": data, "param_indices": fixed}
        self._planned[count] = self._mx.nd.CachedOp(self._symbol, list(flags.items()))
        return self._planned[count]


def _set_threads(threads: Optional[int]) -> None:
    """Set the number of MXNet's threads, which it reads only once, when it is imported.

    Raises
    ------
    InsightError
        MXNet has already been imported with another number.
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
        raise InsightError(f"--device gpu:{number}: MXNet sees {mx.context.num_gpus()} GPUs; run: insight doctor")
    return mx.Context(kind, number)
