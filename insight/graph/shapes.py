"""Shapes in a graph: the size of its images, the shapes of all edges.

A file may state the image size as the shape of its input variable: ``__shape__`` of ``data`` in the symbol,
``(0, 3, height, width)``, where 0 leaves the batch size open. Checkpoints of this package state it. InsightFace's do
not, and their arrays fit several sizes; :func:`settle` implements the rule for them.
"""

from __future__ import annotations

import re
from typing import Dict, List, NamedTuple, Optional, Tuple

from .._mxnet import mx
from ..errors import InsightError
from .cut import INPUT
from .fitting import LARGEST, SMALLEST, Rectangle, fitting_sizes
from .nodes import Graph, GraphModel, Node, Ref

Size = Tuple[int, int]  # (height, width)

CONVENTION = (112, 112)  # image size of InsightFace's networks
# Sizes that may be assumed for a network that does not take 112x112, if exactly one of them fits.
USUAL = (CONVENTION, (112, 96), (96, 96), (128, 128), (160, 160), (224, 224), (256, 256), (64, 64))
LISTED = 4  # rectangles of sizes in a message
OPTION = "--image-size H,W"


class ImageSize(NamedTuple):
    """The size of a network's images, and whether it is assumed.

    Attributes
    ----------
    size : (int, int)
        Height and width.
    known : bool
        True if the file states it, it was given, or no other fits; False if it is assumed.
    note : str
        Explanation for the user if it is assumed; else empty.
    """

    size: Size
    known: bool = True
    note: str = ""


def infer(model: GraphModel, size: Size, batch: int = 1) -> Dict[Ref, Tuple[int, ...]]:
    """The shape of each edge, for a batch of RGB images of (height, width) ``size``.

    Raises
    ------
    InsightError
        The network does not take that size, or an array does not fit its layer.
    """
    symbol = model.graph.to_symbol()
    inputs = set(symbol.list_inputs())
    known = {name: array.shape for name, array in model.params.items() if name in inputs}
    known[INPUT] = (batch, 3, *size)
    internals = symbol.get_internals()
    try:
        # infer_shape prints all arguments to stdout before it raises; infer_shape_partial only raises
        arguments, outputs, auxiliary = internals.infer_shape_partial(**known)
    except mx.MXNetError as error:
        raise InsightError(f"the network does not take {_format(size)} images: {_reason(error)}") from None
    names = internals.list_outputs()
    shapes = dict(zip(names, outputs))
    shapes.update(zip(internals.list_arguments(), arguments))
    shapes.update(zip(internals.list_auxiliary_states(), auxiliary))
    edges = {}
    for node in model.graph.nodes():
        shape = shapes.get(node.name if node.is_variable else f"{node.name}_output")
        if shape is not None:
            edges[Ref(node)] = tuple(shape)
    return edges


def dimension(model: GraphModel, size: Size) -> int:
    """Length E of the embedding."""
    return infer(model, size)[model.graph.outputs[0]][1]


def stated_size(graph: Graph) -> Optional[Size]:
    """(height, width) that the input variable states; None if it does not."""
    data = _input(graph)
    # Python 2 wrote (0L, 3L, 112L, 112L)
    sides = [int(side) for side in re.findall(r"-?\d+", data.text("__shape__"))] if data else []
    return (sides[2], sides[3]) if len(sides) == 4 and min(sides[2:]) > 0 else None


def state_size(model: GraphModel, size: Optional[Size]) -> None:
    """Set the image size (height, width) of the input variable, or remove it; the batch size is left open."""
    data = _input(model.graph)
    data.attrs.pop("__shape__", None)
    if size is not None:
        data.attrs["__shape__"] = str((0, 3, *size))


def image_size(model: GraphModel, asked: Optional[Size] = None) -> Size:
    """(height, width) of a network's images, from :func:`settle`."""
    return settle(model, asked).size


def settle(model: GraphModel, asked: Optional[Size] = None) -> ImageSize:
    """Determine the image size of a network.

    It is the size that the network states; else ``asked``; else the only size that fits its arrays. Otherwise a size is
    assumed. If several fit, it is 112x112 if that fits, else the one size of ``USUAL`` that fits. If the arrays do not
    depend on the size (global pooling), it is the first size of ``USUAL`` that the network takes.

    Parameters
    ----------
    model : GraphModel
        From :func:`insight.graph.cut.cut`.
    asked : (int, int), optional
        Height and width that the user gave.

    Raises
    ------
    InsightError
        The stated or the given size does not fit, the two differ, no size fits, or several fit but not 112x112, and
        none or more than one of them is in ``USUAL``.
    """
    stated = stated_size(model.graph)
    if stated is not None:
        if asked is not None and tuple(asked) != stated:
            raise InsightError(
                f"--image-size {_format(asked)}: the network states {_format(stated)}; leave the option out"
            )
        reason = misfit(model, stated)
        if reason:
            raise InsightError(f"its symbol states {_format(stated)} images, which its arrays do not fit: {reason}")
        return ImageSize(stated)
    if asked is not None:
        reason = misfit(model, tuple(asked))
        if reason:
            raise InsightError(f"--image-size {_format(asked)}: {reason}{_fitting_sizes(model)}")
        return ImageSize(tuple(asked))
    return _assume(model)


def misfit(model: GraphModel, size: Size) -> str:
    """The reason why a network does not give one vector per image of that size; empty if it does."""
    try:
        shape = infer(model, size)[model.graph.outputs[0]]
    except InsightError as error:
        return str(error)
    return "" if len(shape) == 2 else f"its output has shape {shape}, not (images, dimension)"


def _assume(model: GraphModel) -> ImageSize:
    usual = [size for size in USUAL if not misfit(model, size)]
    rectangles = fitting_sizes(model)
    if usual and rectangles is None:
        return _assumed(usual[0], "it takes images of any size")
    fitting = [rectangle for rectangle in rectangles or () if not misfit(model, rectangle.largest)]
    if sum(rectangle.count for rectangle in fitting) == 1:
        return ImageSize(fitting[0].largest)
    if usual[:1] == [CONVENTION] or len(usual) == 1:
        return _assumed(usual[0], f"{_list(fitting)} fit" if fitting else "others may fit")
    if not fitting:
        raise InsightError(
            f"no usual image size fits the network; {misfit(model, CONVENTION)}; nor does another from "
            f"{SMALLEST}x{SMALLEST} to {LARGEST}x{LARGEST}"
        )
    which = "none of them is a usual one" if not usual else f"usual ones are {' and '.join(map(_format, usual))}"
    raise InsightError(
        f"states no image size, and its arrays fit several: {_list(fitting)} (height x width); {which}. Give the "
        f"size that it was trained on: {OPTION}"
    )


def _assumed(size: Size, reason: str) -> ImageSize:
    return ImageSize(
        size, False, f"states no image size; {_format(size)} is assumed ({reason}); {OPTION} gives another"
    )


def _fitting_sizes(model: GraphModel) -> str:
    fitting = [rectangle for rectangle in fitting_sizes(model) or () if not misfit(model, rectangle.largest)]
    return f"; sizes that fit: {_list(fitting)}" if fitting else ""


def _list(rectangles: List[Rectangle]) -> str:
    return " or ".join([*map(str, rectangles[:LISTED]), *(["others"] if len(rectangles) > LISTED else [])])


def _format(size) -> str:
    return "x".join(map(str, size))


def _input(graph: Graph) -> Optional[Node]:
    return next((node for node in graph.variables() if node.name == INPUT), None)


def _reason(error: Exception) -> str:
    """The line of MXNet's message that names the node, at most 200 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reasons = [line for line in lines if "Error in operator" in line or "Incompatible" in line]
    line = (reasons or lines or [type(error).__name__])[0]
    return re.sub(r"^MXNetError: |\[\d\d:\d\d:\d\d\] \S+:\d+: ", "", line)[:200]
