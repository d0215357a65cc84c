"""Base class of the engines of ONNX networks: input normalisation, fixed batch sizes, conversion of checkpoints."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from ..errors import InsightError
from . import metadata, overflow, parse_device
from .engine import Engine, Unable, is_checkpoint, stated_or_given


class Value(NamedTuple):
    """Name and shape of an input or output. A dynamic dimension is not an int."""

    name: str
    shape: tuple


class OnnxEngine(Engine):
    """A network with one image input (N, 3, H, W) and one embedding output (N, E).

    A network that normalises its input gets raw pixels. Any other network (for example a PyTorch export of
    InsightFace) gets (x - 127.5) / 127.5, as in the pip package insightface.

    Parameters
    ----------
    spec : str
        The file or the checkpoint.
    inputs, outputs : sequence of Value
        Inputs and outputs of the network.
    facts : metadata.Facts
        Properties of the network; ``normalises`` must not be None.
    batch_size : int
        Maximum number of images per batch, unless the batch size of the network is fixed.
    image_size : (int, int), optional
        Height and width of the images, if they are dynamic in the file.
    device : str or mxnet.Context, optional
        Device on which the network is evaluated.

    Attributes
    ----------
    weight_bits : int or None
        7 or 8 for a file of ``export-onnx --int8``, else None.
    overflows : bool
        Whether the weights have 8 bits and 8-bit sums overflow on this processor, so that the embeddings are wrong.

    Raises
    ------
    InsightError
        The network has other inputs or outputs, or the image size is unknown or does not fit the network.
    """

    def __init__(
        self,
        spec: str,
        inputs: Sequence[Value],
        outputs: Sequence[Value],
        facts: metadata.Facts,
        batch_size: int,
        image_size: Optional[Tuple[int, int]] = None,
        device=None,
    ):
        shape = inputs[0].shape if len(inputs) == 1 else ()
        if len(shape) != 4 or shape[1] != 3 or len(outputs) != 1 or len(outputs[0].shape) != 2:
            raise InsightError(
                f"{spec}: a face-embedding network takes images (N, 3, H, W) and gives one (N, E); this one takes "
                f"{_list(inputs)} and gives {_list(outputs)}"
            )
        self.normalises = facts.normalises
        self._bgr = facts.color_order == "BGR"
        self.weight_bits = facts.weight_bits
        self.overflows = self.weight_bits == 8 and overflow.overflows(type(self), parse_device(device))
        self._fixed = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else 0
        open_sides = not all(isinstance(side, int) and side > 0 for side in shape[2:])
        size = stated_or_given(spec, facts.image_size if open_sides else tuple(shape[2:]), image_size)
        if size is None:
            raise InsightError(
                f"{spec}: leaves the size of its images open ({_list(inputs)}); give the size of its training images: "
                "--image-size H,W"
            )
        super().__init__(spec, size, self._tried(spec, size), self._fixed or batch_size, facts.notes)

    def _tried(self, spec: str, size: Tuple[int, int]) -> int:
        """Evaluate the network on a black image, or a fixed batch of them, and return the embedding size E."""
        try:
            return self._infer(np.zeros((self._fixed or 1, 3, *size), np.float32)).shape[1]
        except MemoryError:
            raise
        except Exception as error:  # each runtime has its own exception classes
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()[:200]
            raise InsightError(f"{spec}: does not take {size[0]}x{size[1]} images: {reason}") from None

    def _run(self, images: np.ndarray) -> np.ndarray:
        count = len(images)
        if self._bgr:
            images = np.ascontiguousarray(images[:, ::-1])
        if not self.normalises:
            images = (images - np.float32(127.5)) / np.float32(127.5)
        if count < self._fixed:
            images = np.concatenate([images, np.zeros((self._fixed - count, *images.shape[1:]), np.float32)])
        return self._infer(images)[:count]

    def _details(self) -> str:
        """Text about the network for :meth:`describe`."""
        where = "inside" if self.normalises else "(x - 127.5) / 127.5 outside"
        parts = [f"normalisation {where}{', BGR' if self._bgr else ''}"]
        if self.weight_bits:
            parts.append(f"int8 with {self.weight_bits}-bit weights")
        if self.overflows:
            parts.append("which overflow on this processor")
        return ", ".join(parts)

    @abc.abstractmethod
    def _infer(self, images: np.ndarray) -> np.ndarray:
        """Embed images (N, 3, H, W) float32, which are normalised as the network expects: (N, E) float32."""


def takes(spec: str) -> bool:
    """Whether a specification names an ONNX file, or a checkpoint, which can be converted to one."""
    return spec.lower().endswith(".onnx") or is_checkpoint(spec)


def checkpoint_to_onnx(spec: str, graph: str, image_size: Optional[Tuple[int, int]] = None) -> bytes:
    """Convert a checkpoint to a serialised ONNX model.

    ``graph`` and ``image_size`` are as in :func:`insight.engines.load`. Assumptions are stored in the metadata, from
    which the engine reads its notes.

    Raises
    ------
    InsightError
        A file is missing or damaged, or the image size is unknown.
    Unable
        The checkpoint contains an operator that cannot be converted.
    """
    from .. import checkpoint
    from ..graph import opening
    from ..graph.onnx_model import to_onnx
    from ..graph.onnx_writer import NoTranslation

    saved = checkpoint.load(*checkpoint.parse_spec(spec))
    try:
        network = opening.open_network(saved, image_size)
        assumed = {metadata.ASSUMED: "\n".join(network.notes)} if network.notes else None
        return to_onnx(network.model, graph, assumed).SerializeToString()
    except NoTranslation as error:
        raise Unable(f"{spec}: {error}; --engine mxnet evaluates it without conversion") from None
    except InsightError as error:
        raise InsightError(f"{spec}: {error}") from None


def existing(path: str) -> str:
    """Return the path of a file; raise InsightError if there is no such file."""
    if not Path(path).is_file():
        raise InsightError(f"{path}: no such file")
    return path


def is_onnx(path: str) -> bool:
    """Whether a file can be parsed as ONNX and has nodes."""
    import onnx

    try:
        return bool(onnx.load(path, load_external_data=False).graph.node)
    except Exception:  # protobuf's error class, which is not a direct dependency
        return False


def facts_of(spec: str, content: Union[str, bytes]) -> metadata.Facts:
    """Properties of an ONNX network in a file or in memory, from its metadata.

    If the metadata does not state whether the network normalises, :mod:`insight.graph.onnx_input` examines the graph.
    """
    import onnx

    from ..graph import onnx_input

    if isinstance(content, bytes):
        model = onnx.load_model_from_string(content)
    else:
        model = onnx.load(content, load_external_data=False)
    facts = metadata.facts(spec, metadata.of_onnx(model))
    if facts.normalises is None:
        facts = facts._replace(normalises=onnx_input.normalises(model.graph.node))
    return facts


def _list(values: Sequence[Value]) -> str:
    return ", ".join(f"{value.name} {tuple(value.shape)}" for value in values)
