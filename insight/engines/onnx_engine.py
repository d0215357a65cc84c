"""What runtimes of ONNX networks share: files and converted checkpoints, normalisation, fixed batches."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from ..errors import InsightError
from . import metadata, overflow, parse_device
from .engine import Engine, Unable, is_checkpoint, stated_or_given


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
    facts : metadata.Facts
        Of the file; ``normalises`` is no longer None.
    batch_size : int
        Most images at once, unless the network's batch is fixed.
    image_size : (int, int), optional
        Height and width where the file leaves them open.
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
        It takes or gives something else, or the size of its images is not known.
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
                f"{_say(inputs)} and gives {_say(outputs)}"
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
                f"{spec}: leaves the size of its images open ({_say(inputs)}); give the size that it was trained on: "
                "--image-size H,W"
            )
        super().__init__(spec, size, self._tried(spec, size), self._fixed or batch_size, facts.notes)

    def _tried(self, spec: str, size: Tuple[int, int]) -> int:
        """Length E of an embedding, of one black image."""
        try:
            return self._infer(np.zeros((self._fixed or 1, 3, *size), np.float32)).shape[1]
        except MemoryError:
            raise
        except Exception as error:  # each runtime has its own
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
        """What distinguishes the network, for :meth:`describe`."""
        where = "inside" if self.normalises else "(x - 127.5) / 127.5 outside"
        parts = [f"normalisation {where}{', BGR' if self._bgr else ''}"]
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


def checkpoint_to_onnx(spec: str, graph: str, image_size: Optional[Tuple[int, int]] = None) -> bytes:
    """A checkpoint as ONNX, its graph ``plain`` or ``fast``; ``image_size`` as :func:`insight.engines.load` has it.

    What had to be assumed goes along in the metadata, for the engine that opens it.

    Raises
    ------
    InsightError
        A file is missing or damaged, or the size of its images is not known.
    Unable
        The checkpoint holds something that has no translation.
    """
    from .. import checkpoint
    from ..graph import opening
    from ..graph.onnx_model import to_onnx
    from ..graph.onnx_writer import NoTranslation

    held = checkpoint.load(*checkpoint.parse_spec(spec))
    try:
        network = opening.open_network(held, image_size)
        assumed = {metadata.ASSUMED: "\n".join(network.notes)} if network.notes else None
        return to_onnx(network.model, graph, assumed).SerializeToString()
    except NoTranslation as error:
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


def facts_of(spec: str, content: Union[str, bytes]) -> metadata.Facts:
    """What an ONNX network says about its images: its metadata, else :mod:`insight.graph.onnx_input`."""
    import onnx

    from ..graph import onnx_input

    if isinstance(content, bytes):
        model = onnx.load_model_from_string(content)
    else:
        model = onnx.load(content, load_external_data=False)
    found = metadata.facts(spec, metadata.of_onnx(model))
    if found.normalises is None:
        found = found._replace(normalises=onnx_input.normalises(model.graph.node))
    return found


def _say(values: Sequence[Value]) -> str:
    return ", ".join(f"{value.name} {tuple(value.shape)}" for value in values)
