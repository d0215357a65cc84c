"""Where the stages of a residual network end: the last sum of two branches at each height and width of features."""

from __future__ import annotations

from collections import deque
from typing import Deque, Dict, List, NamedTuple, Optional, Sequence, Tuple

from .._mxnet import mx
from ..errors import InsightError
from .nodes import Graph, GraphModel, Node, Ref, Use
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
    the same names. So the nearest of these behind the edge is looked up in the other form, and from there the same
    operators are followed back: where a sum is only read by an activation, that one.

    Parameters
    ----------
    symbol : mxnet.sym.Symbol
        The other form.
    graph : Graph
    ref : Ref

    Raises
    ------
    InsightError
        No layer with weights is behind that edge in both.
    """
    other, uses = Graph.from_symbol(symbol), graph.consumers()
    ways: Deque[Tuple[Node, Tuple[Use, ...]]] = deque([(ref.node, ())])  # a node, and how it reads the edge
    seen = {ref.node}
    while ways:
        node, way = ways.popleft()
        for use in uses[node]:
            if _has_weights(use.node):
                reader = other.find(use.node.name)
                found = reader and _back(reader.inputs[use.slot].node, way)
                if found:
                    return symbol.get_internals()[f"{found.name}_output"]
            elif use.node not in seen:
                seen.add(use.node)
                ways.append((use.node, (*way, use)))
    raise InsightError(f"no layer with weights reads {ref.node.name!r} in both forms of the network")


def _has_weights(node: Node) -> bool:
    return any(source.node.is_variable for source in node.inputs)


def _back(node: Node, way: Sequence[Use]) -> Optional[Node]:
    """What a node reads over the same operators; None where they are others."""
    for use in reversed(way):
        if node.op != use.node.op:
            return None
        node = node.inputs[use.slot].node
    return node


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
