"""ncnn engine, for ``model.param`` with ``model.bin`` in the same folder, on the CPU."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import List, Optional, Tuple

import numpy as np

from ..errors import InsightError
from ..formats import ncnnparam
from ..formats.ncnnparam import NcnnLayer
from ..machine.cores import cpu_threads
from . import BATCH, ENGINES, ncnn_trial, parse_device
from .engine import Engine, Settings, Unable, stated_or_given

CONVENTION = (112, 112)  # height and width of the images of InsightFace's networks
LARGEST = 1024  # maximum height and width of an image, in pixels
REMEDY = "run: pip install -e '.[deploy]'"
# Layers that add to their input: kind to the operations that do so (BinaryOp: add, subtract, reversed subtract), or
# None for all.
ADDING = {
    "BinaryOp": (0, 1, 7),
    "BatchNorm": None,
    "Scale": None,
    "Bias": None,
}
LINEAR = ("Convolution", "ConvolutionDepthWise", "Deconvolution", "DeconvolutionDepthWise", "InnerProduct", "Gemm")


@ENGINES.register("ncnn")
class NcnnEngine(Engine):
    """A network in ncnn's text format. Thread-safe.

    ncnn evaluates one image at a time, on several threads. A network that normalises its input (ours, and InsightFace's
    converted by mxnet2ncnn) gets raw pixels. Any other network gets (x - 127.5) / 127.5.

    Parameters
    ----------
    spec : str
        The .param file. Its Input layer may state the image size (0=WIDTH 1=HEIGHT). If it does not, and ``image_size``
        is not given, 112x112 is assumed.
    threads : int, optional
        By default as many as MXNet would use: OMP_NUM_THREADS, or the number of physical cores.
    device, batch_size, dtype, image_size
        As in :func:`insight.engines.load`. With ``bfloat16``, ncnn stores weights and feature maps in bfloat16. With
        ``float32``, it uses float32 throughout, even on CPUs where its default is float16; weights stored as float16
        are converted.

    Raises
    ------
    InsightError
        A file is missing, damaged or of another kind of network, the image size differs from the one in the file, or
        the device is not the CPU.
    Unable
        ncnn is not installed.
    """

    name = "ncnn"
    SPEC = "ncnn's .param"
    DTYPES = ("float32", "bfloat16")

    def __init__(
        self,
        spec: str,
        threads: Optional[int] = None,
        device=None,
        batch_size: Optional[int] = None,
        dtype: str = "float32",
        image_size: Optional[Tuple[int, int]] = None,
    ):
        self._runtime = _import()
        kind, number = parse_device(device)
        if kind != "cpu":
            raise InsightError(f"--device {kind}:{number}: ncnn evaluates on the CPU here; give another engine")
        layers = _one_in_one_out(spec, ncnnparam.read(spec))
        weights = ncnnparam.weights_path(spec)
        if not weights.is_file():
            raise InsightError(f"{weights}: no such file; want the weights of {Path(spec).name} in it")
        images = ncnnparam.inputs(layers)[0]
        size, notes = _image_size(spec, images, image_size)
        self._input, self._output = images.tops[0], ncnnparam.outputs(layers)[0]
        self.normalises = normalises(layers)
        self.dtype = dtype
        super().__init__(spec, size, ncnn_trial.dimension(spec, size), batch_size or BATCH["cpu"], notes)
        self._net = self._runtime.Net()
        _set_options(self._net.opt, threads, dtype)
        if self._net.load_param(spec) or self._net.load_model(str(weights)):
            raise InsightError(f"{spec}: ncnn does not load it")

    @staticmethod
    def takes(spec: str) -> bool:
        """Whether a specification names a .param file."""
        return spec.lower().endswith(".param")

    @staticmethod
    def installed() -> bool:
        """Whether ncnn is installed."""
        return importlib.util.find_spec("ncnn") is not None

    @classmethod
    def open(cls, spec: str, settings: Settings) -> NcnnEngine:
        """Load a file; see :meth:`Engine.open`."""
        options = (settings.threads, settings.device, settings.batch_size, settings.dtype, settings.image_size)
        return cls(spec, *options)

    def describe(self) -> str:
        """One line: ``ncnn 1.0.20261020 on CPU, float32, normalisation inside``."""
        where = "inside" if self.normalises else "(x - 127.5) / 127.5 outside"
        return f"ncnn {self._runtime.__version__} on CPU, {self.dtype}, normalisation {where}"

    def _run(self, images: np.ndarray) -> np.ndarray:
        if not self.normalises:
            images = (images - np.float32(127.5)) / np.float32(127.5)
        return np.stack([self._embed(image) for image in images])

    def _embed(self, image: np.ndarray) -> np.ndarray:
        extractor = self._net.create_extractor()
        # A Mat shares the memory of the array, and some releases of ncnn write to it or crash. Therefore it is cloned
        # while the array exists.
        extractor.input(self._input, self._runtime.Mat(image).clone())
        status, embedding = extractor.extract(self._output)
        if status:
            raise InsightError(f"{self.spec}: ncnn could not evaluate it (status {status}); is there enough memory?")
        return np.array(embedding).reshape(self.dimension)


def _image_size(spec: str, images: NcnnLayer, given: Optional[Tuple[int, int]]) -> Tuple[Tuple[int, int], List[str]]:
    """(height, width) of the images, and a note if the size is assumed."""
    sides = (images.number(1), images.number(0))
    if any(sides) and not all(0 < side <= LARGEST for side in sides):
        raise InsightError(f"{spec}: its Input layer states {sides[0]}x{sides[1]} images; is it damaged?")
    known = stated_or_given(spec, sides if any(sides) else None, given)
    if known is not None:
        return known, []
    by = "x".join(map(str, CONVENTION))
    return CONVENTION, [f"states no image size in its Input layer; {by} is assumed; --image-size H,W gives another"]


def normalises(layers: List[NcnnLayer]) -> bool:
    """Whether the network normalises its input: whether it adds or subtracts anything before the first linear layer.

    A scale is no criterion, because it may be folded into the weights of that layer.
    """
    for layer in layers:
        if layer.kind in LINEAR:
            return False
        if layer.kind in ADDING and (ADDING[layer.kind] is None or layer.number(0) in ADDING[layer.kind]):
            return True
    return False


def _import():
    try:
        import ncnn
    except ImportError as error:
        raise Unable(f"ncnn is not installed, or does not load ({error}); {REMEDY}") from None
    return ncnn


def _one_in_one_out(spec: str, layers: List[NcnnLayer]) -> List[NcnnLayer]:
    inputs = [blob for layer in ncnnparam.inputs(layers) for blob in layer.tops]
    outputs = ncnnparam.outputs(layers)
    if len(inputs) != 1 or len(outputs) != 1:
        raise InsightError(
            f"{spec}: a face-embedding network takes images and gives one vector each; this one takes "
            f"{_names(inputs)} and gives {_names(outputs)}"
        )
    return layers


def _names(blobs: List[str]) -> str:
    return ", ".join([*blobs[:4], "…"] if len(blobs) > 4 else blobs) or "nothing"


def _set_options(options, threads: Optional[int], dtype: str) -> None:
    options.num_threads = cpu_threads(threads)
    options.use_vulkan_compute = False
    for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"):  # on by default on CPUs that support it
        setattr(options, name, False)
    options.use_bf16_storage = dtype == "bfloat16"
