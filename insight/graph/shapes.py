"""What a graph takes and gives: image size, shapes of every edge."""

from __future__ import annotations

from typing import Dict, Tuple

from .._mxnet import mx
from ..errors import InsightError
from .cut import INPUT
from .nodes import Model, Ref

# Tried in this order where the graph does not say; the recipe's own sizes come first.
SIZES = ((112, 112), (112, 96), (96, 96), (96, 112), (128, 128), (160, 160), (224, 224), (256, 256), (64, 64))


def infer(model: Model, size: Tuple[int, int], batch: int = 1) -> Dict[Ref, Tuple[int, ...]]:
    """The shape on every edge, for a batch of RGB images of (height, width) ``size``.

    Raises
    ------
    InsightError
        The network does not take that size, or an array does not fit its layer.
    """
    symbol = model.graph.to_symbol()
    held = set(symbol.list_inputs())
    known = {name: array.shape for name, array in model.params.items() if name in held}
    known[INPUT] = (batch, 3, *size)
    internals = symbol.get_internals()
    try:
        # infer_shape prints every argument to stdout before it raises; this one only raises
        arguments, outputs, auxiliary = internals.infer_shape_partial(**known)
    except mx.MXNetError as error:
        raise InsightError(f"the network does not take {size[0]}x{size[1]} images: {_reason(error)}") from None
    names = internals.list_outputs()
    shapes = dict(zip(names, outputs))
    shapes.update(zip(internals.list_arguments(), arguments))
    shapes.update(zip(internals.list_auxiliary_states(), auxiliary))
    found = {}
    for node in model.graph.nodes():
        shape = shapes.get(node.name if node.is_variable else f"{node.name}_output")
        if shape is not None:
            found[Ref(node)] = tuple(shape)
    return found


def image_size(model: Model) -> Tuple[int, int]:
    """(height, width) of the images that a network was built for.

    The graph says it where its input variable carries a shape; elsewhere the usual sizes are tried
    against the shapes of the weights, 112x112 first, which decides for every network that ends in a
    fully connected layer and is the convention for those that pool.

    Raises
    ------
    InsightError
        None of them fits.
    """
    data = next((node for node in model.graph.variables() if node.name == INPUT), None)
    stated = data.shape("__shape__") if data else ()
    if len(stated) == 4 and min(stated[2:]) > 0:
        return stated[2], stated[3]
    reason = ""
    for size in SIZES:
        try:
            shape = infer(model, size)[model.graph.outputs[0]]
        except InsightError as error:
            reason = reason or str(error)
            continue
        if len(shape) == 2:
            return size
        reason = reason or f"its output has shape {shape}, not (images, dimension)"
    raise InsightError(f"no usual image size fits the network; {reason}")


def dimension(model: Model, size: Tuple[int, int]) -> int:
    """Length E of the embedding."""
    return infer(model, size)[model.graph.outputs[0]][1]


def _reason(error: Exception) -> str:
    """The one line of MXNet's message that names the node."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith("Error in operator") or "Incompatible" in line]
    return (telling or lines or [type(error).__name__])[0][:200]
