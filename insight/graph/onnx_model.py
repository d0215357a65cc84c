"""Convert a model to ONNX with our own translations (onnx_ops), opset 13.

The result works unchanged in pip insightface's ``model_zoo.get_model``, ONNX Runtime, OpenVINO and cv2.dnn: input raw
RGB 0..255, normalisation part of the graph, any batch size, one input ``data`` and one output ``fc1``, no weights among
the inputs.
"""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

from onnx import ModelProto, NodeProto, TensorProto, checker, helper

from .. import __version__
from . import cut, fold, shapes, split
from .nodes import GraphModel, Node, Ref
from .onnx_input import LOOK_AT
from .onnx_ops import translate
from .onnx_writer import Writer

OPSET = 13
IR_VERSION = 7  # the version of opset 13; all readers of recent years support it


def to_onnx(model: GraphModel, graph: str = "plain", properties: Optional[Dict[str, str]] = None) -> ModelProto:
    """Translate a model that ends at its embedding.

    Parameters
    ----------
    model : GraphModel
        From :func:`insight.graph.cut.cut`.
    graph : str
        ``plain`` or ``fast``.
    properties : dict of str to str, optional
        Added to the file's metadata.

    Raises
    ------
    NoTranslation
        An operator or one of its options has no translation; the message names it and its node.
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


def _translated(model: GraphModel, size: Tuple[int, int]) -> Writer:
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
    """Whether pip insightface's ArcFaceONNX will feed raw pixels: it checks the names of the first nodes."""
    names = [node.name for node in nodes[:LOOK_AT]]
    return any(name.startswith("Sub") for name in names) and any(name.startswith("Mul") for name in names)


def _state_no_normalisation(model: GraphModel) -> None:
    """Insert (x - 0) * 1 at the input, so that pip insightface feeds raw pixels, which the network takes."""
    data = next(node for node in model.graph.variables() if node.name == cut.INPUT)
    first = Node("_minus_scalar", model.graph.fresh_name("input_minus"), {"scalar": "0"}, [Ref(data)])
    second = Node("_mul_scalar", model.graph.fresh_name("input_times"), {"scalar": "1"}, [Ref(first)])
    for use in model.graph.consumers()[data]:
        use.node.inputs[use.slot] = Ref(second)
