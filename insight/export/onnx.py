"""Checkpoint -> ONNX, by our own translations (onnx_ops), opset 13.

The file is a drop-in for pip insightface's ``model_zoo.get_model``, ONNX Runtime and cv2.dnn: raw RGB
0..255 in, the normalisation inside, the batch free, one input ``data`` and one output ``fc1``, no weight
among the inputs. It is written only if ONNX Runtime embeds faces with it as MXNet does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

from onnx import ModelProto, NodeProto, TensorProto, checker, helper

from .. import __version__, checkpoint
from ..engines import GRAPHS
from ..engines.mxnet import MXNetEngine
from ..engines.onnxruntime import LOOK_AT, OnnxRuntimeEngine
from ..errors import InsightError
from ..formats import atomic
from ..graph import cut, fold, shapes, split
from ..graph.nodes import Model, Node, Ref
from . import parity
from .onnx_ops import Writer, translate

OPSET = 13
IR_VERSION = 7  # that of opset 13; every reader of the last years takes it


class OnnxExport(NamedTuple):
    """What was written: the file, its size in bytes, how well it agrees with MXNet."""

    path: Path
    size: int
    parity: parity.Parity


def export_onnx(
    spec: str,
    output: str,
    graph: str = "plain",
    faces: parity.Faces = parity.random_faces,
    count: int = parity.COUNT,
    bound: float = parity.FLOAT32_BOUND,
    overwrite: bool = False,
) -> OnnxExport:
    """Write a checkpoint as ONNX.

    Parameters
    ----------
    spec : str
        ``prefix,epoch``; a training graph is cut at ``fc1_output``.
    output : str
        The .onnx file.
    graph : str
        ``plain``, the graph as it was trained; or ``fast``, which computes the same with batch norm folded and
        PReLU split (:mod:`insight.graph.split`).
    faces, count, bound
        The images of the parity gate, how many, and the least cosine.
    overwrite : bool
        Replace a file that is there.

    Raises
    ------
    InsightError
        A file is missing or damaged, an operator has no translation, or ONNX Runtime is not installed.
    CheckFailed
        The parity gate found a difference; nothing was written.
    """
    if graph not in GRAPHS:
        raise InsightError(f"--graph {graph}: want one of {', '.join(GRAPHS)}")
    path = Path(output)
    if path.exists() and not overwrite:
        raise InsightError(f"{path}: is there already; give another --output, or --overwrite")
    prefix, epoch = checkpoint.parse_spec(spec)
    held = checkpoint.load(prefix, epoch)
    plain = MXNetEngine(held, spec, graph="plain")
    try:
        model = to_onnx(cut.cut(Model.from_mxnet(*held)), graph, {"source": f"{Path(prefix).name},{epoch}"})
    except InsightError as error:
        raise InsightError(f"{spec}: {error}") from None
    with atomic.temporary_beside(path) as partial:
        partial.write_bytes(model.SerializeToString(deterministic=True))
        written = OnnxRuntimeEngine(str(partial))
        agreement = parity.gate(str(path), plain, written, faces(count, plain.image_size), bound)
    return OnnxExport(path, path.stat().st_size, agreement)


def to_onnx(model: Model, graph: str = "plain", properties: Optional[Dict[str, str]] = None) -> ModelProto:
    """Translate a model that ends at its embedding.

    Parameters
    ----------
    model : Model
        From :func:`insight.graph.cut.cut`.
    graph : str
        ``plain`` or ``fast``.
    properties : dict of str to str, optional
        Added to the file's metadata.

    Raises
    ------
    InsightError
        An operator has no translation; the message names it and its node.
    """
    size = shapes.image_size(model)
    if graph == "fast":
        model = split.split(fold.fold(model), size)
    else:
        model = model.copy()
        fold.drop_identities(model.graph)
    writer = _translated(model, size)
    if not _tells_normalisation(writer.nodes):
        _state_no_normalisation(model)
        writer = _translated(model, size)
    dimension = shapes.dimension(model, size)
    head = model.graph.outputs[0].node.name
    float32 = TensorProto.FLOAT
    images = helper.make_tensor_value_info(cut.INPUT, float32, ["batch", 3, *size])
    embeddings = helper.make_tensor_value_info(head, float32, ["batch", dimension])
    body = helper.make_graph(writer.nodes, "insight", [images], [embeddings], list(writer.initializers.values()))
    written = helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="insight",
        producer_version=__version__,
    )
    helper.set_model_props(written, {**_properties(size, dimension, graph), **(properties or {})})
    checker.check_model(written, full_check=True)
    return written


def _translated(model: Model, size: Tuple[int, int]) -> Writer:
    writer = Writer(model, {edge: len(shape) for edge, shape in shapes.infer(model, size).items()})
    for node in model.graph.operators():
        translate(writer, node)
    return writer


def _properties(size: Tuple[int, int], dimension: int, graph: str) -> Dict[str, str]:
    return {
        "color_order": "RGB",
        "input_layout": "NCHW",
        "input_size": f"{size[0]},{size[1]}",
        "input_range": "0..255",
        "normalisation": "inside",
        "embedding": f"{dimension}, not normalised",
        "graph": graph,
        "insight_version": __version__,
    }


def _tells_normalisation(nodes: List[NodeProto]) -> bool:
    """Whether pip insightface's ArcFaceONNX will feed raw pixels: it looks at the names of the first nodes."""
    names = [node.name for node in nodes[:LOOK_AT]]
    return any(name.startswith("Sub") for name in names) and any(name.startswith("Mul") for name in names)


def _state_no_normalisation(model: Model) -> None:
    """Put x * 1 - 0 in front: a network that takes raw pixels without it would be fed normalised ones."""
    data = next(node for node in model.graph.variables() if node.name == cut.INPUT)
    first = Node("_minus_scalar", model.graph.fresh_name("input_minus"), {"scalar": "0"}, [Ref(data)])
    second = Node("_mul_scalar", model.graph.fresh_name("input_times"), {"scalar": "1"}, [Ref(first)])
    for use in model.graph.consumers()[data]:
        use.node.inputs[use.slot] = Ref(second)
