"""ONNX Runtime engine, for ``model.onnx`` and for checkpoints converted to ONNX."""

from __future__ import annotations

import importlib.util
from typing import Callable, Dict, Optional, Tuple, Union

import numpy as np

from ..errors import InsightError
from . import BATCH, ENGINES, onnx_engine, parse_device
from .engine import Settings, Unable, is_checkpoint
from .onnx_engine import OnnxEngine, Value

REMEDY = "run: pip install -e '.[deploy]'"


@ENGINES.register("onnxruntime")
class OnnxRuntimeEngine(OnnxEngine):
    """An ONNX network (:class:`OnnxEngine`) evaluated by ONNX Runtime. Thread-safe.

    Parameters
    ----------
    spec : str
        The file, or the checkpoint from which ``content`` was converted.
    threads, device, batch_size, image_size
        As in :func:`insight.engines.load`.
    content : bytes, optional
        The serialised network, if it is not in a file.
    graph : str
        The graph of ``content``, ``plain`` or ``fast``, for :meth:`describe`.

    Raises
    ------
    InsightError
        The file is missing or is not a face-embedding network, or the installed ONNX Runtime does not support the
        device.
    Unable
        ONNX Runtime is not installed, or cannot load the network.
    """

    name = "onnxruntime"
    SPEC = "a .onnx file"

    def __init__(
        self,
        spec: str,
        threads: Optional[int] = None,
        device=None,
        batch_size: Optional[int] = None,
        content: Optional[bytes] = None,
        graph: str = "",
        image_size: Optional[Tuple[int, int]] = None,
    ):
        self._runtime = _import()
        self._graph = f", {graph} graph" if graph else ""
        network = onnx_engine.existing(spec) if content is None else content
        self._session = _session(self._runtime, spec, network, threads, device)
        inputs, outputs = (
            [Value(value.name, tuple(value.shape)) for value in values]
            for values in (self._session.get_inputs(), self._session.get_outputs())
        )
        self._input = inputs[0].name
        facts, batch_size = onnx_engine.facts_of(spec, network), batch_size or BATCH[parse_device(device)[0]]
        super().__init__(spec, inputs, outputs, facts, batch_size, image_size, device)

    takes = staticmethod(onnx_engine.takes)

    @staticmethod
    def installed() -> bool:
        """Whether ONNX Runtime is installed."""
        return importlib.util.find_spec("onnxruntime") is not None

    @classmethod
    def open(cls, spec: str, settings: Settings) -> OnnxRuntimeEngine:
        """Load a file or convert a checkpoint; see :meth:`Engine.open`."""
        _import()
        options = (spec, settings.threads, settings.device, settings.batch_size)
        if not is_checkpoint(spec):
            return cls(*options, image_size=settings.image_size)
        return cls(*options, onnx_engine.checkpoint_to_onnx(spec, settings.graph, settings.image_size), settings.graph)

    def describe(self) -> str:
        """One line: ``ONNX Runtime 1.20 on CPUExecutionProvider, normalisation inside``."""
        provider = self._session.get_providers()[0]
        return f"ONNX Runtime {self._runtime.__version__} on {provider}{self._graph}, {self._details()}"

    def _infer(self, images: np.ndarray) -> np.ndarray:
        return self._session.run(None, {self._input: images})[0]


def observe(content: bytes, threads: Optional[int] = None) -> Callable[[np.ndarray], Dict[str, np.ndarray]]:
    """Load an ONNX network with any outputs.

    Returns
    -------
    callable
        Maps images (N, 3, H, W) float32 to a dictionary of all outputs by name.

    Raises
    ------
    Unable
        ONNX Runtime is not installed, or cannot load the network.
    """
    session = _session(_import(), "the network", content, threads, None)
    images = session.get_inputs()[0].name
    names = [value.name for value in session.get_outputs()]
    return lambda batch: dict(zip(names, session.run(names, {images: batch})))


def _import():
    try:
        import onnxruntime
    except ImportError as error:
        raise Unable(f"ONNX Runtime is not installed, or does not load ({error}); {REMEDY}") from None
    return onnxruntime


def _session(runtime, spec: str, network: Union[str, bytes], threads: Optional[int], device):
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # warnings are about its optimiser, and errors are raised anyway
    if threads is not None:
        options.intra_op_num_threads = threads
    kind, number = parse_device(device)
    wanted = "CUDAExecutionProvider" if kind == "gpu" else "CPUExecutionProvider"
    if wanted not in runtime.get_available_providers():
        raise InsightError(f"--device {kind}:{number}: this ONNX Runtime is built for the CPU; install onnxruntime-gpu")
    provider = (wanted, {"device_id": number}) if kind == "gpu" else wanted
    try:
        return runtime.InferenceSession(network, options, providers=[provider])
    except Exception as error:  # its exception classes differ between versions
        raise Unable(f"{spec}: ONNX Runtime does not load it: {str(error).splitlines()[0][:200]}") from None
