"""What runtimes of ONNX networks share: files and converted checkpoints, normalisation, fixed batches."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import Mapping, NamedTuple, Optional, Sequence, Union

import numpy as np

from ..errors import InsightError
from . import overflow, parse_device
from .engine import Engine, Unable, is_checkpoint

SIDE = 112  # pixels, where a file leaves the size open


class Value(NamedTuple):
    """An input or output: its name and its shape, where a length that is open is no int."""

    name: str
    shape: tuple


class OnnxEngine(Engine):
    """A network with one image input (N, 3, H, W) and one embedding output (N, E).

    One that normalises inside gets pixels as they are. One that does not (a PyTorch export of
    InsightFace's) gets (x - 127.5) / 127.5, as the pip package insightface feeds it.

    Parameters
    ----------
    spec : str
    inputs, outputs : sequence of Value
    normalises : bool
        Whether it normalises inside.
    batch_size : int
        Most images at once, unless the network's batch is fixed.
    metadata : mapping of str to str
        What the file says of itself.
    device : str or mxnet.Context, optional
        Where it runs.

    Attributes
    ----------
    weight_bits : int or None
        7 or 8 for a file of ``export-onnx --int8``, else None.
    overflows : bool
        Whether its weights have 8 bits and this processor's sums of them overflow: it embeds wrongly here.

    Raises
    ------
    InsightError
        It takes or gives something else.
    """

    def __init__(
        self,
        spec: str,
        inputs: Sequence[Value],
        outputs: Sequence[Value],
        normalises: bool,
        batch_size: int,
        metadata: Mapping[str, str],
        device=None,
    ):
        shape = inputs[0].shape if len(inputs) == 1 else ()
        if len(shape) != 4 or shape[1] != 3 or len(outputs) != 1 or len(outputs[0].shape) != 2:
            raise InsightError(
                f"{spec}: a face-embedding network takes images (N, 3, H, W) and gives one (N, E); this one takes "
                f"{_say(inputs)} and gives {_say(outputs)}"
            )
        self.normalises = normalises
        self.weight_bits: Optional[int] = overflow.weight_bits(metadata)
        self.overflows = self.weight_bits == 8 and overflow.overflows(type(self), parse_device(device))
        self._fixed = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else 0
        size = tuple(side if isinstance(side, int) else SIDE for side in shape[2:])
        dimension = self._infer(np.zeros((self._fixed or 1, 3, *size), np.float32)).shape[1]
        super().__init__(spec, size, dimension, self._fixed or batch_size)

    def _run(self, images: np.ndarray) -> np.ndarray:
        count = len(images)
        if not self.normalises:
            images = (images - np.float32(127.5)) / np.float32(127.5)
        if count < self._fixed:
            images = np.concatenate([images, np.zeros((self._fixed - count, *images.shape[1:]), np.float32)])
        return self._infer(images)[:count]

    def _details(self) -> str:
        """What distinguishes the network, for :meth:`describe`."""
        parts = ["normalisation inside" if self.normalises else "normalisation (x - 127.5) / 127.5 outside"]
        if self.weight_bits:
            parts.append(f"int8 with {self.weight_bits}-bit weights")
        if self.overflows:
            parts.append("which overflow on this processor")
        return ", ".join(parts)

    @abc.abstractmethod
    def _infer(self, images: np.ndarray) -> np.ndarray:
        """(N, E) of (N, 3, H, W) float32 as the network takes them."""


def takes(spec: str) -> bool:
    """Whether a specification names an ONNX file, or a checkpoint, which can be made one."""
    return spec.lower().endswith(".onnx") or is_checkpoint(spec)


def convert(spec: str, graph: str) -> bytes:
    """A checkpoint as ONNX, its graph ``plain`` or ``fast``.

    Raises
    ------
    InsightError
        A file is missing or damaged.
    Unable
        The checkpoint holds something that has no translation.
    """
    from .. import checkpoint
    from ..graph import cut, nodes, onnx, onnx_ops

    held = checkpoint.load(*checkpoint.parse_spec(spec))
    try:
        return onnx.to_onnx(cut.cut(nodes.Model.from_mxnet(*held)), graph).SerializeToString()
    except onnx_ops.NoTranslation as error:
        raise Unable(f"{spec}: {error}; --engine mxnet evaluates it as it is") from None
    except InsightError as error:
        raise InsightError(f"{spec}: {error}") from None


def existing(path: str) -> str:
    """The path of a file, if it is there."""
    if not Path(path).is_file():
        raise InsightError(f"{path}: no such file")
    return path


def is_onnx(path: str) -> bool:
    """Whether a file is an ONNX network, whole."""
    import onnx

    try:
        return bool(onnx.load(path, load_external_data=False).graph.node)
    except Exception:  # protobuf's, which is no dependency of ours
        return False


def normalises_inside(content: Union[str, bytes]) -> bool:
    """Whether an ONNX network takes raw pixels; see :mod:`insight.graph.onnx_input`."""
    import onnx

    from ..graph import onnx_input

    if isinstance(content, bytes):
        model = onnx.load_model_from_string(content)
    else:
        model = onnx.load(content, load_external_data=False)
    return onnx_input.normalises(model.graph.node)


def _say(values: Sequence[Value]) -> str:
    return ", ".join(f"{value.name} {tuple(value.shape)}" for value in values)
