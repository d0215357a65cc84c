"""ONNX Runtime as an engine: ``model.onnx``."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import numpy as np

from ..errors import InsightError
from . import BATCH, ENGINES, parse_device
from .engine import Engine

LOOK_AT = 8  # nodes at the start among which pip insightface looks for a normalisation


@ENGINES.register("onnxruntime")
class OnnxRuntimeEngine(Engine):
    """An ONNX file with one image input (N, 3, H, W) and one embedding output (N, E); thread-safe.

    A file that normalises inside gets pixels as they are. One that does not (a PyTorch export of
    InsightFace's) gets (x - 127.5) / 127.5, as the pip package insightface feeds it; the first nodes tell
    which it is, by the rule of that package's ArcFaceONNX.

    Raises
    ------
    InsightError
        ONNX Runtime is not installed, or the file is no such network.
    """

    name = "onnxruntime"
    SPEC = "a .onnx file"

    def __init__(self, path: str, threads: Optional[int] = None, device=None, batch_size: Optional[int] = None):
        self._runtime = _import()
        self._session = _session(self._runtime, path, threads, device)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape if len(inputs) == 1 else ()
        if len(shape) != 4 or shape[1] != 3 or len(outputs) != 1 or len(outputs[0].shape) != 2:
            raise InsightError(
                f"{path}: a face-embedding network takes images (N, 3, H, W) and gives one (N, E); this one takes "
                f"{_say(inputs)} and gives {_say(outputs)}"
            )
        self._input = inputs[0].name
        self._fixed = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else 0
        self.normalises = _normalises_inside(path)
        size = tuple(side if isinstance(side, int) else 112 for side in shape[2:])
        probe = np.zeros((self._fixed or 1, 3, *size), np.float32)
        dimension = self._session.run(None, {self._input: probe})[0].shape[1]
        super().__init__(path, size, dimension, self._fixed or batch_size or BATCH[parse_device(device)[0]])

    @staticmethod
    def takes(spec: str) -> bool:
        """Whether a specification names an ONNX file."""
        return spec.lower().endswith(".onnx")

    @classmethod
    def open(
        cls, spec: str, threads: Optional[int], device, graph: str, batch_size: Optional[int]
    ) -> OnnxRuntimeEngine:
        """Load a file; see :func:`insight.engines.load`."""
        return cls(spec, threads, device, batch_size)

    def describe(self) -> str:
        """One line: ``ONNX Runtime 1.20 on CPUExecutionProvider, normalisation inside``."""
        where = "inside" if self.normalises else "(x - 127.5) / 127.5 outside"
        return f"ONNX Runtime {self._runtime.__version__} on {self._session.get_providers()[0]}, normalisation {where}"

    def _run(self, images: np.ndarray) -> np.ndarray:
        count = len(images)
        if not self.normalises:
            images = (images - np.float32(127.5)) / np.float32(127.5)
        if count < self._fixed:
            images = np.concatenate([images, np.zeros((self._fixed - count, *images.shape[1:]), np.float32)])
        return self._session.run(None, {self._input: images})[0][:count]


def _import():
    try:
        import onnxruntime
    except ImportError:
        raise InsightError("ONNX Runtime is not installed; run: pip install -e '.[deploy]'") from None
    return onnxruntime


def _session(runtime, path: str, threads: Optional[int], device):
    if not Path(path).is_file():
        raise InsightError(f"{path}: no such file")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # its warnings are about its own optimiser
    if threads is not None:
        options.intra_op_num_threads = threads
    kind, number = parse_device(device)
    wanted = "CUDAExecutionProvider" if kind == "gpu" else "CPUExecutionProvider"
    if wanted not in runtime.get_available_providers():
        raise InsightError(f"device {kind}({number}): this ONNX Runtime is built for the CPU; install onnxruntime-gpu")
    provider = (wanted, {"device_id": number}) if kind == "gpu" else wanted
    try:
        return runtime.InferenceSession(path, options, providers=[provider])
    except Exception as error:  # its exception classes differ from version to version
        raise InsightError(f"{path}: ONNX Runtime does not load it: {str(error).splitlines()[0][:200]}") from None


def _normalises_inside(path: str) -> bool:
    """Whether a subtraction and a multiplication stand among the first nodes, by operator or by name."""
    import onnx

    first = onnx.load(path, load_external_data=False).graph.node[:LOOK_AT]
    subtracts = any(node.op_type == "Sub" or node.name.startswith(("Sub", "_minus")) for node in first)
    multiplies = any(node.op_type == "Mul" or node.name.startswith(("Mul", "_mul")) for node in first)
    return subtracts and multiplies


def _say(values) -> str:
    return ", ".join(f"{value.name} {tuple(value.shape)}" for value in values)
