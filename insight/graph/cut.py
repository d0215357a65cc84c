"""Cut a training graph down to its embedding.

InsightFace's training graphs go on behind ``fc1_output`` (BlockGrad, one_hot, fc7, SoftmaxOutput),
and take ``softmax_label``; what ships ends at ``fc1_output`` and takes ``data`` alone.
"""

from __future__ import annotations

import numpy as np

from ..errors import InsightError
from .nodes import Graph, GraphModel, Ref

EMBEDDING = "fc1"  # the layer whose output is the embedding, in every network of InsightFace
INPUT = "data"
CASTS = ("Cast", "cast", "amp_cast")
FLOATS = ("float16", "float32", "float64")


def cut(model: GraphModel, layer: str = EMBEDDING) -> GraphModel:
    """The part of a model that turns images into embeddings.

    Keeps the nodes before ``layer`` and the parameters that they use. Its output is then named
    ``fc1_output`` and its input ``data``. Each BatchNorm states ``fix_gamma``, and where that is
    True its gamma is stored as ones: MXNet takes it so, most converters read what is stored. A network that was
    trained in float16 becomes one of float32: its arrays are widened, its casts left out.

    Parameters
    ----------
    model : GraphModel
        As trained, or cut already. It is left alone.
    layer : str
        Name of the embedding layer, with or without ``_output``.

    Raises
    ------
    InsightError
        No such layer (the message lists the candidates), or a parameter is missing.
    """
    model = model.copy()
    name = layer[: -len("_output")] if layer.endswith("_output") else layer
    head = model.graph.find(name)
    if head is None:
        raise InsightError(
            f"the graph has no layer {name!r} whose output would be the embedding; {_say_candidates(model.graph)}"
        )
    model.graph.outputs = [Ref(head)]
    _name_input(model)
    if head.name != EMBEDDING:
        head.name = EMBEDDING if model.graph.find(EMBEDDING) is None else model.graph.fresh_name(EMBEDDING)
    _drop_casts(model)
    _state_fix_gamma(model)
    _drop_variable_attributes(model)
    used = {node.name for node in model.graph.variables()}
    model.params = {name: _as_float32(array) for name, array in model.params.items() if name in used}
    return model


def candidates(graph: Graph) -> list:
    """Names of layers whose output may be an embedding: (N, E) by the operator that makes it."""
    flat = {"FullyConnected", "Flatten", "flatten", "L2Normalization"}
    found = []
    for node in graph.operators():
        source = node.inputs[0].node.op if node.inputs else ""
        if node.op in flat or (node.op in ("BatchNorm", "Dropout", "LeakyReLU") and source in flat):
            found.append(node.name)
    return found


def _say_candidates(graph: Graph) -> str:
    found = candidates(graph)
    if not found:
        return "nor any other that gives one vector per image: is this a face-embedding network?"
    return f"candidates: {', '.join(found[-8:])}; slim the model with model-slim --layer NAME"


def _name_input(model: GraphModel) -> None:
    """Call the one variable without an array ``data``; complain where there are others."""
    free = [node for node in model.graph.variables() if node.name not in model.params]
    images = [node for node in free if node.name == INPUT] or free[: len(free) == 1]
    missing = [node.name for node in free if node not in images]
    if missing:
        names = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise InsightError(f"the params file lacks {names}; it belongs to another symbol, or was cut short")
    if not images:
        raise InsightError("the graph has no input: every variable has an array in the params file")
    images[0].name = INPUT


def _drop_casts(model: GraphModel) -> None:
    for node in model.graph.operators():
        if node.op in CASTS and node.text("dtype") in FLOATS:
            model.graph.replace(Ref(node), node.inputs[0])


def _as_float32(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype.name in FLOATS and array.dtype != np.float32 else array


def _drop_variable_attributes(model: GraphModel) -> None:
    """Initialisers and multipliers, which only training reads, and copies of operators' options.

    The shape stays where it cannot be inferred: of the images, and of a slope that all channels share.
    """
    for node in model.graph.variables():
        alone = node.name == INPUT or model.params[node.name].size == 1
        node.attrs = {key: value for key, value in node.attrs.items() if alone and key == "__shape__"}


def _state_fix_gamma(model: GraphModel) -> None:
    uses = model.graph.consumers()
    for node in model.graph.operators():
        if node.op == "BatchNorm":
            node.attrs["fix_gamma"] = str(node.flag("fix_gamma", True))
    for node in model.graph.variables():
        readers = uses[node]
        fixed = [use.node.op == "BatchNorm" and use.slot == 1 and use.node.flag("fix_gamma", True) for use in readers]
        if node.name in model.params and fixed and all(fixed):
            model.params[node.name] = np.ones_like(model.params[node.name])
