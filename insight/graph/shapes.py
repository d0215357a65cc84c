"""What a graph takes and gives: the size of its images, the shapes of every edge.

The size is a fact that a file may state, as the shape of its input variable: ``__shape__`` of ``data`` in the symbol,
``(0, 3, height, width)``, where 0 leaves the batch open. Checkpoints written here state it. InsightFace's do not,
and their arrays fit several sizes; :func:`settle` has the rule for them.
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

CONVENTION = (112, 112)  # of InsightFace's networks
# What a network may be assumed to take, where it does not take 112x112 and exactly one of these.
USUAL = (CONVENTION, (112, 96), (96, 96), (128, 128), (160, 160), (224, 224), (256, 256), (64, 64))
LISTED = 4  # rectangles of sizes in a message
OPTION = "--image-size H,W"


class ImageSize(NamedTuple):
    """The size of a network's images, and how it is known.

    Attributes
    ----------
    size : (int, int)
        Height and width.
    known : bool
        The file states it, it was given, or no other fits; else it is assumed.
    note : str
        For people, where it is assumed; else empty.
    """

    size: Size
    known: bool = True
    note: str = ""


def infer(model: GraphModel, size: Size, batch: int = 1) -> Dict[Ref, Tuple[int, ...]]:
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
        raise InsightError(f"the network does not take {_by(size)} images: {_reason(error)}") from None
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


def dimension(model: GraphModel, size: Size) -> int:
    """Length E of the embedding."""
    return infer(model, size)[model.graph.outputs[0]][1]


def stated_size(graph: Graph) -> Optional[Size]:
    """(height, width) that the input variable states; None where it does not."""
    data = _input(graph)
    # Python 2 wrote (0L, 3L, 112L, 112L)
    sides = [int(side) for side in re.findall(r"-?\d+", data.text("__shape__"))] if data else []
    return (sides[2], sides[3]) if len(sides) == 4 and min(sides[2:]) > 0 else None


def state_size(model: GraphModel, size: Optional[Size]) -> None:
    """Let the input variable state (height, width), or nothing, with the batch left open."""
    data = _input(model.graph)
    data.attrs.pop("__shape__", None)
    if size is not None:
        data.attrs["__shape__"] = str((0, 3, *size))


def image_size(model: GraphModel, asked: Optional[Size] = None) -> Size:
    """(height, width) of a network's images; :func:`settle` without what it says about it."""
    return settle(model, asked).size


def settle(model: GraphModel, asked: Optional[Size] = None) -> ImageSize:
    """Which images a network takes.

    The size that it states; else ``asked``; else the only one that its arrays fit. Where they fit several, or do not
    depend on the size (global pooling), it is assumed: 112x112 if that fits, else the one of ``USUAL`` that fits.

    Parameters
    ----------
    model : GraphModel
        From :func:`insight.graph.cut.cut`.
    asked : (int, int), optional
        Height and width that the user gave.

    Raises
    ------
    InsightError
        The stated or the given size does not fit, they differ, no size fits, or several do and none of them, or more
        than one, is usual.
    """
    stated = stated_size(model.graph)
    if stated is not None:
        if asked is not None and tuple(asked) != stated:
            raise InsightError(f"--image-size {_by(asked)}: the network states {_by(stated)}; leave the option out")
        reason = misfit(model, stated)
        if reason:
            raise InsightError(f"its symbol states {_by(stated)} images, which its arrays do not fit: {reason}")
        return ImageSize(stated)
    if asked is not None:
        reason = misfit(model, tuple(asked))
        if reason:
            raise InsightError(f"--image-size {_by(asked)}: {reason}{_these_fit(model)}")
        return ImageSize(tuple(asked))
    return _guessed(model)


def misfit(model: GraphModel, size: Size) -> str:
    """Why a network does not turn images of that size into one vector each; empty where it does."""
    try:
        shape = infer(model, size)[model.graph.outputs[0]]
    except InsightError as error:
        return str(error)
    return "" if len(shape) == 2 else f"its output has shape {shape}, not (images, dimension)"


def _guessed(model: GraphModel) -> ImageSize:
    usual = [size for size in USUAL if not misfit(model, size)]
    found = fitting_sizes(model)
    if usual and found is None:
        return _assumed(usual[0], "it takes images of any size")
    fitting = [one for one in found or () if not misfit(model, one.largest)]
    if sum(one.count for one in fitting) == 1:
        return ImageSize(fitting[0].largest)
    if usual[:1] == [CONVENTION] or len(usual) == 1:
        return _assumed(usual[0], f"{_said(fitting)} fit" if fitting else "others may fit")
    if not fitting:
        raise InsightError(
            f"no usual image size fits the network; {misfit(model, CONVENTION)}; nor does another from "
            f"{SMALLEST}x{SMALLEST} to {LARGEST}x{LARGEST}"
        )
    which = "none of them is a usual one" if not usual else f"usual ones are {' and '.join(map(_by, usual))}"
    raise InsightError(
        f"states no image size, and its arrays fit several: {_said(fitting)} (height x width); {which}. Give the "
        f"size that it was trained on: {OPTION}"
    )


def _assumed(size: Size, why: str) -> ImageSize:
    return ImageSize(size, False, f"states no image size; {_by(size)} is assumed ({why}); {OPTION} gives another")


def _these_fit(model: GraphModel) -> str:
    found = [one for one in fitting_sizes(model) or () if not misfit(model, one.largest)]
    return f"; sizes that fit: {_said(found)}" if found else ""


def _said(found: List[Rectangle]) -> str:
    return " or ".join([*map(str, found[:LISTED]), *(["others"] if len(found) > LISTED else [])])


def _by(size) -> str:
    return "x".join(map(str, size))


def _input(graph: Graph) -> Optional[Node]:
    return next((node for node in graph.variables() if node.name == INPUT), None)


def _reason(error: Exception) -> str:
    """The one line of MXNet's message that names the node."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "Error in operator" in line or "Incompatible" in line]
    line = (telling or lines or [type(error).__name__])[0]
    return re.sub(r"^MXNetError: |\[\d\d:\d\d:\d\d\] \S+:\d+: ", "", line)[:200]
