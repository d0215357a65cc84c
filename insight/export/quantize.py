"""Checkpoint -> 8-bit ONNX or OpenVINO file, kept only if its embeddings of faces are close to MXNet's.

Batch norm is folded, channels are equalised (:mod:`insight.export.equalise`), and the ranges of feature maps are
measured on calibration faces. Without the second step a MobileFaceNet loses its channels of small range.
:mod:`insight.export.qdq` describes which tensors are rounded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
from onnx import ModelProto, TensorProto, helper

from .. import engines
from ..engines.engine import Engine
from ..engines.metadata import QUANTISATION, WEIGHT_BITS
from ..engines.onnx_engine import OnnxEngine
from ..engines.onnxruntime import observe
from ..engines.overflow import WEIGHT_MAX
from ..errors import CheckFailed, InsightError, printable
from ..faces.sources import ImageSource, image_source
from ..graph import fold
from ..graph.nodes import GraphModel
from ..graph.onnx_model import to_onnx
from ..progress import track
from ..verify.verification import load_set, verify
from . import equalise, parity, qdq
from .source import naming, open_source
from .written import files, size, written

BOUND = 0.98  # mean cosine
COUNT = 200  # calibration faces; 64 or 300 give the same cosines
BATCH = 4  # faces at a time; all their feature maps are in memory
# Share of the faces whose values lie inside the range, at either end: outliers of single faces would cost resolution
# for all others.
COVERED = 0.9


class Int8Export(NamedTuple):
    """Result of an export."""

    path: Path
    size: int  # bytes of all files
    float32_size: int  # bytes of the same network as float32 ONNX
    graph: str  # plain or fast
    weight_bits: int  # 7 or 8
    overflows: bool  # whether sums with its weights overflow on this processor
    calibrated: int  # number of calibration faces
    parity: parity.Parity  # agreement with MXNet, on other faces
    accuracy: Optional[Tuple[float, float]]  # of float32 and of this file; None without a verification set
    notes: List[str]  # assumptions about the checkpoint


class Seen(NamedTuple):
    """Values of a tensor over all faces: its range (low, high), and the largest magnitude (C,) of each channel."""

    low: float
    high: float
    peaks: np.ndarray


def export_int8(
    spec: str,
    output: str,
    calibrate: Union[str, ImageSource],
    num_calibrate: int = COUNT,
    graph: Optional[str] = None,
    faces: Optional[parity.Faces] = None,
    count: int = parity.COUNT,
    bound: float = BOUND,
    target: Optional[str] = None,
    overwrite: bool = False,
    weight_bits: int = 7,
    image_size: Optional[Tuple[int, int]] = None,
) -> Int8Export:
    """Write a checkpoint with int8 weights and uint8 feature maps.

    Parameters
    ----------
    spec : str
        ``prefix,epoch``; a training graph is cut at ``fc1_output``.
    output : str
        A .onnx file (QDQ form), or OpenVINO's .xml with its .bin beside it.
    calibrate : str or ImageSource
        Faces to measure ranges on: identity folders, a .rec or a .bin.
    num_calibrate : int
        Number of calibration faces, spread over the source.
    graph : str, optional
        ``fast``, which ONNX Runtime computes in 8 bits throughout; or ``plain``, with PReLU, which OpenVINO computes in
        8 bits and ONNX Runtime slowly. By default fast for .onnx and plain for .xml.
    faces, count, bound
        The images of the parity gate, their number, and the lowest mean cosine to accept. Without ``faces``, ``count``
        images of the calibration source that are not used for calibration.
    target : str, optional
        A verification .bin, to compare accuracy on.
    overwrite : bool
        Replace existing files.
    weight_bits : int
        7, exact on every processor; or 8, closer to float32, whose sums overflow on x86 processors without VNNI.
    image_size : (int, int), optional
        Height and width of the images, if the checkpoint does not state them.

    Raises
    ------
    InsightError
        A file is missing or damaged or already exists, there are too few faces, an operator has no translation, the
        size of the images is not known, or a runtime is not installed.
    CheckFailed
        The mean cosine is below the bound; nothing was written.
    """
    paths = files(output, overwrite)
    graph = graph or ("plain" if len(paths) > 1 else "fast")
    if graph not in engines.GRAPHS:
        raise InsightError(f"--graph {graph}: want one of {', '.join(engines.GRAPHS)}")
    if weight_bits not in WEIGHT_MAX:
        raise InsightError(f"--weight-bits {weight_bits}: want one of {', '.join(map(str, WEIGHT_MAX))}")
    eval_set = load_set(target) if target else None
    source = open_source(spec, image_size=image_size)
    image_size = source.network.image_size
    calibration = calibrate if isinstance(calibrate, ImageSource) else image_source(calibrate)
    if faces is None:
        if count < 1:
            raise InsightError(f"--num-faces {count}: must be at least 1; the files are compared on them")
        seen, compared = _faces(calibration, num_calibrate, count, image_size)
    else:
        seen, _ = _faces(calibration, num_calibrate, 0, image_size)
        compared = parity.take(faces, count, image_size)
    properties = {
        **source.properties,
        QUANTISATION: f"int8 weights of {weight_bits} bits per output channel, uint8 feature maps",
        WEIGHT_BITS: str(weight_bits),
        "calibration": f"{len(seen)} faces of {printable(Path(calibration.path).name)}",
    }
    with naming(spec):
        float32_size = to_onnx(source.model).ByteSize()
        rounded = quantize(source.model, graph, seen, properties, weight_bits)
    with written(paths, rounded, overwrite) as engine:
        agreement = _gate(str(paths[0]), source.network, engine, compared, bound)
        accuracy = None
        if eval_set:
            float32 = engines.load(spec, engine="auto", image_size=image_size)
            accuracy = tuple(_accuracy(evaluated, eval_set) for evaluated in (float32, engine))
    return Int8Export(
        *(paths[0], size(paths), float32_size, graph, weight_bits, engine.overflows, len(seen)),
        *(agreement, accuracy, source.notes),
    )


def _gate(path: str, reference: Engine, engine: OnnxEngine, faces: np.ndarray, bound: float) -> parity.Parity:
    """:func:`parity.gate`, whose error names the likely reason if sums of the file overflow on this processor."""
    try:
        return parity.gate(path, reference, engine, faces, bound, of="mean")
    except CheckFailed as error:
        if not engine.overflows:
            raise
        raise CheckFailed(
            f"{error}; on this processor sums of 8-bit weights overflow in {engine.name}: export with --weight-bits 7, "
            "or on a processor with VNNI"
        ) from None


def quantize(
    model: GraphModel,
    graph: str,
    faces: np.ndarray,
    properties: Optional[Dict[str, str]] = None,
    weight_bits: int = 7,
) -> ModelProto:
    """A network in 8 bits, as ONNX in the QDQ form.

    Parameters
    ----------
    model : GraphModel
        From :func:`insight.graph.cut.cut`.
    graph : str
        ``plain`` or ``fast``.
    faces : numpy.ndarray
        (N, 3, H, W) uint8, RGB: images to measure ranges on.
    properties : dict of str to str, optional
        Added to the file's metadata.
    weight_bits : int
        7 or 8.
    """
    folded = fold.fold(model)
    channelled = [node.name for group in equalise.groups(folded) for node in group]
    wide = look(to_onnx(folded), faces, channelled, "measuring channels")
    even = equalise.equalise(folded, {name: seen.peaks for name, seen in wide.items()})
    network = to_onnx(even, graph, properties)
    ranges = look(network, faces, qdq.rounded(network), "measuring ranges")
    return qdq.to_qdq(network, {name: (seen.low, seen.high) for name, seen in ranges.items()}, weight_bits)


def look(network: ModelProto, faces: np.ndarray, names: Sequence[str], what: str) -> Dict[str, Seen]:
    """Ranges of named tensors of a network while it embeds faces, (N, 3, H, W) uint8, RGB.

    Raises
    ------
    InsightError
        A value is not finite.
    """
    run = observe(_showing(network, names))
    batches: Dict[str, List[tuple]] = {name: [] for name in names}
    for batch in track(_batches(faces), what, -(-len(faces) // BATCH), "batches"):
        for name, values in run(batch).items():
            if not np.isfinite(values).all():
                raise InsightError(f"its layer {name} gives NaN or infinity on a face; the network is broken")
            values = values.reshape(*(values.shape[:2] if values.ndim > 1 else (1, values.size)), -1)
            batches[name].append((values.min(axis=(1, 2)), values.max(axis=(1, 2)), np.abs(values).max(axis=(0, 2))))
    return {name: _seen(parts) for name, parts in batches.items()}


def _showing(network: ModelProto, names: Sequence[str]) -> bytes:
    """The network with those tensors as its outputs; as bytes, so that no second copy of its weights is kept."""
    shown = ModelProto()
    shown.CopyFrom(network)
    shown.graph.ClearField("output")
    shown.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    return shown.SerializeToString()


def _seen(parts: List[tuple]) -> Seen:
    lows, highs, channels = zip(*parts)
    low = np.quantile(np.concatenate(lows), 1 - COVERED)
    return Seen(float(low), float(np.quantile(np.concatenate(highs), COVERED)), np.max(channels, axis=0))


def _batches(faces: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(faces), BATCH):
        yield np.ascontiguousarray(faces[first : first + BATCH], np.float32)


def _faces(source: ImageSource, count: int, others: int, size: Tuple[int, int]) -> Tuple[np.ndarray, np.ndarray]:
    """Choose ``count`` faces and ``others`` different ones, both spread over a source; each (N, 3, H, W) uint8, RGB.

    Raises
    ------
    InsightError
        The source has fewer faces.
    """
    if count < 1:
        raise InsightError(f"--num-calibrate {count}: must be at least 1")
    if len(source) < count + others:
        more = f" and {others} more to compare on" if others else ""
        raise InsightError(
            f"{source.path}: {len(source)} faces, but --num-calibrate {count}{more} are needed; give more or lower it"
        )
    chosen = np.linspace(0, len(source) - 1, count + others).round().astype(int)
    aside = np.zeros(len(chosen), bool)
    aside[np.linspace(0, len(chosen) - 1, others).round().astype(int)] = True
    seen, unseen = ([source.pixels(i, size) for i in part.tolist()] for part in (chosen[~aside], chosen[aside]))
    source.warn_of_damage()
    return np.stack(seen), np.stack(unseen) if others else np.empty((0, 3, *size), np.uint8)


def _accuracy(engine: Engine, eval_set) -> float:
    return verify(engine, eval_set, engine.image_size, show_progress=True).folds.accuracy
