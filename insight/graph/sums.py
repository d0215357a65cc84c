"""Outputs of the stages of a residual network.

A stage ends with the last sum of two branches at its height and width of features.
"""

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
        The edge that carries the features.
    channels : int
        Number of channels of the features.
    """

    ref: Ref
    channels: int


def last_sums(model: GraphModel, size: Size) -> Dict[Size, Sum]:
    """The last sum of two branches at each (height, width) of features, sorted from the largest.

    Parameters
    ----------
    model : GraphModel
        A network from images to embeddings.
    size : (int, int)
        Height and width of the images.

    Raises
    ------
    InsightError
        The network does not take images of that size.
    """
    sums = {}
    for ref, shape in infer(model, size).items():  # in topological order, so the last sum wins
        if ref.node.op in ADDITIONS and len(shape) == 4:
            sums[shape[2:]] = Sum(ref, shape[1])
    return {features: sums[features] for features in sorted(sums, reverse=True)}


def same_in(symbol: mx.sym.Symbol, graph: Graph, ref: Ref) -> mx.sym.Symbol:
    """Find the output in another form of a network that corresponds to an edge of its graph.

    Two forms of a network compute the same, but one may replace a layer by several operators, sums included, so sums
    cannot be matched by their numbered names. Layers with weights have the same names in both forms. The nearest such
    layer after the edge is looked up in the other form. From its input, the operators between the edge and the layer
    (for example an activation) are followed back to the corresponding output.

    Parameters
    ----------
    symbol : mxnet.sym.Symbol
        The other form.
    graph : Graph
        The graph that contains ``ref``.
    ref : Ref
        The edge to look up.

    Returns
    -------
    mxnet.sym.Symbol

    Raises
    ------
    InsightError
        No layer with weights that both forms have reads the edge through the same operators.
    """
    other, uses = Graph.from_symbol(symbol), graph.consumers()
    ways: Deque[Tuple[Node, Tuple[Use, ...]]] = deque([(ref.node, ())])  # a node, and the uses from the edge to it
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
    """Follow the uses of ``way`` back from a node to its source; None if an operator differs."""
    for use in reversed(way):
        if node.op != use.node.op:
            return None
        node = node.inputs[use.slot].node
    return node


class Stages:
    """Stages of a network that has several forms.

    Parameters
    ----------
    symbol : mxnet.sym.Symbol
        The plain form, whose only sums are those of two branches.
    image_size : (int, int)
        Height and width of the images.

    Attributes
    ----------
    channels : dict of (int, int) to int
        Number of channels of each stage's output, by its (height, width), sorted from the largest.
    """

    def __init__(self, symbol: mx.sym.Symbol, image_size: Size):
        self._graph = Graph.from_symbol(symbol)
        self._sums = last_sums(GraphModel(self._graph, {}), image_size)
        self.channels = {size: stage.channels for size, stage in self._sums.items()}

    def outputs(self, symbol: mx.sym.Symbol, sizes: Sequence[Size]) -> List[mx.sym.Symbol]:
        """Outputs of the stages with features of ``sizes``, each (height, width), in another form of the network."""
        return [same_in(symbol, self._graph, self._sums[size].ref) for size in sizes]
