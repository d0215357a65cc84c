"""OpenVINO engine, for ``model.onnx``, OpenVINO's ``model.xml`` and checkpoints converted to ONNX, on the CPU."""

from __future__ import annotations

import importlib.util
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Optional, Tuple

import numpy as np

from ..errors import InsightError
from ..machine.cores import cpu_threads
from . import BATCH, ENGINES, metadata, onnx_engine, parse_device
from .engine import Settings, Unable, is_checkpoint
from .onnx_engine import OnnxEngine, Value

PRECISION = {"float32": "f32", "bfloat16": "bf16"}
TELEMETRY = "openvino_telemetry"
REMEDY = "run: pip install -e '.[deploy]'"
LINEAR = ("Convolution", "GroupConvolution", "MatMul")


@ENGINES.register("openvino")
class OpenVINOEngine(OnnxEngine):
    """An ONNX or OpenVINO network evaluated by OpenVINO. Thread-safe; calls are serialised.

    The plain graph of a checkpoint is always used: OpenVINO itself folds batch norm and fuses PReLU into the preceding
    convolution, which the split of PReLUs in the fast graph would prevent.

    Parameters
    ----------
    spec : str
        The file, or the checkpoint from which ``content`` was converted.
    threads : int, optional
        By default as many as MXNet would use: OMP_NUM_THREADS, or the number of physical cores.
    device, batch_size, dtype, image_size
        As in :func:`insight.engines.load`.
    content : bytes, optional
        The serialised ONNX network, if it is not in a file.

    Raises
    ------
    InsightError
        A file is missing or is not a face-embedding network, the device is not the CPU, or the CPU does not support
        ``dtype``.
    Unable
        OpenVINO is not installed, or cannot read or compile the network.
    """

    name = "openvino"
    SPEC = "OpenVINO's .xml"
    DTYPES = tuple(PRECISION)

    def __init__(
        self,
        spec: str,
        threads: Optional[int] = None,
        device=None,
        batch_size: Optional[int] = None,
        dtype: str = "float32",
        content: Optional[bytes] = None,
        image_size: Optional[Tuple[int, int]] = None,
    ):
        self._runtime = _import()
        self.dtype = dtype
        core = self._runtime.Core()
        _check_device(self._runtime, core, device, dtype)
        network = onnx_engine.existing(spec) if content is None else content
        is_ir = content is None and spec.lower().endswith(".xml")
        if content is None:
            _check_kind(spec, is_ir)
        try:
            model = core.read_model(network)
        except RuntimeError as error:
            raise Unable(f"{spec}: OpenVINO does not load it: {_reason(error)}") from None
        facts = _facts(spec, model) if is_ir else onnx_engine.facts_of(spec, network)
        _close_sides(spec, model, image_size or facts.image_size)
        try:
            compiled = core.compile_model(model, "CPU", _options(threads, dtype))
        except RuntimeError as error:
            raise Unable(f"{spec}: OpenVINO does not load it: {_reason(error)}") from None
        self._request = compiled.create_infer_request()
        self._lock = threading.Lock()
        inputs, outputs = ([_value(port) for port in ports] for ports in (model.inputs, model.outputs))
        super().__init__(spec, inputs, outputs, facts, batch_size or BATCH["cpu"], image_size)

    @staticmethod
    def takes(spec: str) -> bool:
        """Whether a specification names an ONNX or OpenVINO file, or a checkpoint."""
        return spec.lower().endswith(".xml") or onnx_engine.takes(spec)

    @staticmethod
    def installed() -> bool:
        """Whether OpenVINO is installed."""
        return importlib.util.find_spec("openvino") is not None

    @classmethod
    def open(cls, spec: str, settings: Settings) -> OpenVINOEngine:
        """Load a file or convert a checkpoint; see :meth:`Engine.open`."""
        _import()
        options = (spec, settings.threads, settings.device, settings.batch_size, settings.dtype)
        if not is_checkpoint(spec):
            return cls(*options, image_size=settings.image_size)
        return cls(*options, onnx_engine.checkpoint_to_onnx(spec, "plain", settings.image_size))

    def describe(self) -> str:
        """One line: ``OpenVINO 2025.4.1 on CPU, float32, normalisation inside``."""
        version = self._runtime.__version__.split("-")[0]
        return f"OpenVINO {version} on CPU, {self.dtype}, {self._details()}"

    def _infer(self, images: np.ndarray) -> np.ndarray:
        with self._lock:
            return self._request.infer({0: images}, share_inputs=True)[0]


def save(onnx: bytes, path: Path) -> None:
    """Write an ONNX network in OpenVINO's format: ``path`` with suffix .xml, and a .bin in the same folder.

    Weights are written unchanged, and the metadata is written too.

    Raises
    ------
    Unable
        OpenVINO is not installed, or cannot convert the network.
    """
    runtime = _import()
    with TemporaryDirectory(prefix="insight-openvino-") as folder:
        source = Path(folder, "network.onnx")  # the rewrites that keep the .xml small are applied only to files
        source.write_bytes(onnx)
        try:
            model = runtime.convert_model(str(source))
            runtime.save_model(model, str(path), compress_to_fp16=False)
        except RuntimeError as error:
            raise Unable(f"{path}: OpenVINO does not write it: {_reason(error)}") from None


def _import():
    """Import OpenVINO without its telemetry.

    On import, OpenVINO reports to a server from a thread that forks. If other modules are imported at the same time,
    this sometimes ends in a deadlock. OpenVINO works without its telemetry package, so the package is hidden meanwhile.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault(TELEMETRY, None)
    try:
        import openvino
    except ImportError as error:
        raise Unable(f"OpenVINO is not installed, or does not load ({error}); {REMEDY}") from None
    finally:
        if sys.modules.get(TELEMETRY, ...) is None:
            del sys.modules[TELEMETRY]
    return openvino


def _check_kind(path: str, is_ir: bool) -> None:
    """Raise Unable if the content of a file does not match its suffix; InsightError if its weights are missing.

    OpenVINO would try other formats and print their errors on stderr.
    """
    if not is_ir:
        if not onnx_engine.is_onnx(path):
            raise Unable(f"{path}: OpenVINO does not load it: not an ONNX network, or cut short")
        return
    with open(path, "rb") as opened:
        if b"<net" not in opened.read(4096):
            raise Unable(f"{path}: OpenVINO does not load it: not a network in its format")
    weights = Path(path).with_suffix(".bin")
    if not weights.is_file():
        raise InsightError(f"{weights}: no such file; want the weights of {Path(path).name} in it")


def _check_device(runtime, core, device, dtype: str) -> None:
    kind, number = parse_device(device)
    if kind != "cpu":
        raise InsightError(f"--device {kind}:{number}: OpenVINO evaluates on the CPU; give another engine")
    if dtype == "bfloat16" and not _has_bfloat16(runtime, core):
        raise InsightError("--dtype bfloat16: this CPU does not compute in it (AVX-512 BF16 or AMX); use float32")


def _has_bfloat16(runtime, core) -> bool:
    """Whether OpenVINO compiles a convolution in bfloat16.

    Its list of capabilities is not sufficient. It describes the processor, but oneDNN may be limited to fewer
    instructions (ONEDNN_MAX_CPU_ISA), and then a whole network crashes the process.
    """
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return False
    operators = runtime.opset8
    data = operators.parameter([1, 16, 4, 4], np.float32)
    weights = operators.constant(np.ones((16, 16, 3, 3), np.float32))
    output = operators.convolution(data, weights, [1, 1], [1, 1], [1, 1], [1, 1])
    try:
        compiled = core.compile_model(runtime.Model([output], [data]), "CPU", _options(1, "bfloat16"))
    except RuntimeError:
        return False
    return compiled.get_property("INFERENCE_PRECISION_HINT") == runtime.Type.bf16


def _options(threads: Optional[int], dtype: str) -> dict:
    return {
        "INFERENCE_PRECISION_HINT": PRECISION[dtype],  # the default is bfloat16 on CPUs that support it
        "INFERENCE_NUM_THREADS": cpu_threads(threads),
        "PERFORMANCE_HINT": "LATENCY",  # one batch at a time, on all threads
    }


def _value(port) -> Value:
    lengths = (length.get_length() if length.is_static else "?" for length in port.get_partial_shape())
    return Value(port.get_any_name(), tuple(lengths))


def _close_sides(spec: str, model, size: Optional[Tuple[int, int]]) -> None:
    """Fix the height and width of the images if they are dynamic, because OpenVINO would evaluate any size.

    Raises InsightError if the network cannot be evaluated with images of this size.
    """
    shape = model.inputs[0].get_partial_shape() if len(model.inputs) == 1 else None
    if size is None or shape is None or shape.rank.is_dynamic or len(shape) != 4:
        return
    fixed = [length.get_length() if length.is_static else None for length in list(shape)[2:]]
    if None not in fixed or any(known not in (None, side) for known, side in zip(fixed, size)):
        return  # OnnxEngine raises an error for a size that contradicts the file
    batch = shape[0].get_length() if shape[0].is_static else -1
    try:
        # With a dynamic batch size, reshape accepts wrong sizes, and on one thread they are even evaluated.
        for count in (1, batch):
            model.reshape({0: [count, 3, *size]})
            rows = model.outputs[0].get_partial_shape()[0]
            if count == 1 and rows.is_static and rows.get_length() != 1:
                raise RuntimeError(f"one image gives {rows.get_length()} embeddings")
    except RuntimeError as error:
        raise InsightError(f"{spec}: does not take {size[0]}x{size[1]} images: {_reason(error)}") from None


def _facts(spec: str, model) -> metadata.Facts:
    """Properties of a network in OpenVINO's format, from its metadata; ``normalises`` else from its graph."""
    facts = metadata.facts(spec, metadata.read(spec))
    return facts if facts.normalises is not None else facts._replace(normalises=_normalises_inside(model))


def _normalises_inside(model) -> bool:
    """Whether the network adds or subtracts anything before its first linear layer, as :func:`.ncnn.normalises`."""
    for node in model.get_ordered_ops():
        if node.get_type_name() in LINEAR:
            return False
        if node.get_type_name() in ("Add", "Subtract"):
            return True
    return False


def _reason(error: Exception) -> str:
    """The last line of OpenVINO's message, which states the reason; earlier lines name its source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:200]
