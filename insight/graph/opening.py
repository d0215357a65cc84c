"""A checkpoint as the network that everything evaluates and exports: cut at its embedding, its image size settled."""

from __future__ import annotations

from typing import List, NamedTuple, Optional

from . import shapes
from .cut import CASTS, EMBEDDING, INPUT, cut
from .fold import IDENTITY
from .linear import FLATTEN, LINEAR
from .nodes import GraphModel

# Operators that leave the values of pixels as they are, or average them.
PASSING = (*IDENTITY, *CASTS, *FLATTEN, "Pooling", "Pad", "pad", "Reshape", "reshape", "transpose")
RAW_PIXELS = (
    "does not normalise pixels inside its graph, as InsightFace's networks do; it gets them as they are, RGB 0..255"
)


class OpenNetwork(NamedTuple):
    """A checkpoint, opened.

    Attributes
    ----------
    model : GraphModel
        From the images, whose size its input states, to the embedding.
    size : (int, int)
        Height and width of the images.
    known : bool
        Whether the size is a fact; else it is assumed.
    notes : list of str
        What was assumed, for people.
    """

    model: GraphModel
    size: shapes.Size
    known: bool
    notes: List[str]


def open_network(checkpoint, image_size: Optional[shapes.Size] = None, layer: str = EMBEDDING) -> OpenNetwork:
    """Cut a checkpoint at its embedding and settle the size of its images.

    Parameters
    ----------
    checkpoint : insight.checkpoint.Checkpoint
    image_size : (int, int), optional
        Height and width that the user gave.
    layer : str
        Name of the embedding layer.

    Raises
    ------
    InsightError
        As :func:`insight.graph.cut.cut` and :func:`insight.graph.shapes.settle` raise it.
    """
    model = cut(GraphModel.from_mxnet(*checkpoint), layer)
    settled = shapes.settle(model, image_size)
    shapes.state_size(model, settled.size)
    notes = [settled.note] if settled.note else []
    if not normalises(model):
        notes.append(RAW_PIXELS)
    return OpenNetwork(model, settled.size, settled.known, notes)


def normalises(model: GraphModel) -> bool:
    """Whether pixels are shifted, scaled or batch-normalised before the first weights."""
    uses = model.graph.consumers()
    reached = [node for node in model.graph.variables() if node.name == INPUT]
    while reached:
        node = reached.pop()
        for use in uses[node]:
            if use.node.op in PASSING:
                reached.append(use.node)
            elif use.node.op not in LINEAR:
                return True
    return False
