"""Where the stages of a residual network end: the last sum of two branches at each height and width of features."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Sequence

from .._mxnet import mx
from ..errors import InsightError
from .nodes import Graph, GraphModel, Ref
from .shapes import Size, infer

ADDITIONS = ("elemwise_add", "broadcast_add")


class Sum(NamedTuple):
    """The output of a stage.

    Attributes
    ----------
    ref : Ref
    channels : int
    """

    ref: Ref
    channels: int


def last_sums(model: GraphModel, size: Size) -> Dict[Size, Sum]:
    """The last sum of two branches at each (height, width) of features, largest first.

    Parameters
    ----------
    model : GraphModel
        From images to embeddings.
    size : (int, int)
        Height and width of the images.

    Raises
    ------
    InsightError
        The network does not take images of that size.
    """
    sums = {}
    for ref, shape in infer(model, size).items():  # each node after its inputs
        if ref.node.op in ADDITIONS and len(shape) == 4:
            sums[shape[2:]] = Sum(ref, shape[1])
    return {features: sums[features] for features in sorted(sums, reverse=True)}


def same_in(symbol: mx.sym.Symbol, graph: Graph, ref: Ref) -> mx.sym.Symbol:
    """The output of another form of a graph that is what an edge of the graph is.

    The forms differ within layers, which may be made of sums too, and name these by counting; layers with weights have
    the same names.

    Parameters
    ----------
    symbol : mxnet.sym.Symbol
        The other form.
    graph : Graph
    ref : Ref

    Raises
    ------
    InsightError
        No layer with weights reads that edge in both.
    """
    other = Graph.from_symbol(symbol)
    for use in graph.consumers()[ref.node]:
        reader = other.find(use.node.name)
        if reader is not None and any(source.node.is_variable for source in reader.inputs):
            return symbol.get_internals()[f"{reader.inputs[use.slot].node.name}_output"]
    raise InsightError(f"no layer with weights reads {ref.node.name!r} in both forms of the network")


class Stages:
    """The stages of a network that has several forms.

    Parameters
    ----------
    symbol : mxnet.sym.Symbol
        Its plain form, in which all sums are those of branches.
    image_size : (int, int)
        Height and width of the images.

    Attributes
    ----------
    channels : dict of (int, int) to int
        Of the features that each stage ends with, by height and width, largest first.
    """

    def __init__(self, symbol: mx.sym.Symbol, image_size: Size):
        self._graph = Graph.from_symbol(symbol)
        self._sums = last_sums(GraphModel(self._graph, {}), image_size)
        self.channels = {size: stage.channels for size, stage in self._sums.items()}

    def outputs(self, symbol: mx.sym.Symbol, sizes: Sequence[Size]) -> List[mx.sym.Symbol]:
        """The features of stages, in another form of the network."""
        return [same_in(symbol, self._graph, self._sums[size].ref) for size in sizes]
