"""Writer of ONNX graphs, used by the translations of :mod:`insight.graph.onnx_ops`."""

from __future__ import annotations

from typing import Any, Dict, List

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from ..errors import InsightError
from .nodes import GraphModel, Node, Ref


class NoTranslation(InsightError):
    """Raised when a node cannot be translated to ONNX."""


class Writer:
    """Collects the nodes and initializers of one ONNX graph.

    Parameters
    ----------
    model : GraphModel
        The graph to translate. An array becomes an initializer when a translation uses it.
    ranks : dict of Ref to int
        Number of axes on each edge.
    """

    def __init__(self, model: GraphModel, ranks: Dict[Ref, int]):
        self.model = model
        self.ranks = ranks
        self.uses = model.graph.consumers()
        self.nodes: List[NodeProto] = []
        self.initializers: Dict[str, TensorProto] = {}

    def edge(self, ref: Ref) -> str:
        """ONNX name of the tensor on an edge; the array of a parameter is added as an initializer."""
        if ref.index:
            raise NoTranslation(f"output {ref.index} of {ref.node} is read; only first outputs can be exported")
        array = self.model.array(ref)
        return ref.node.name if array is None else self.constant(ref.node.name, array)

    def constant(self, name: str, array: np.ndarray) -> str:
        """Add an initializer and return its name. int64 arrays keep their dtype; all others become float32."""
        array = np.asarray(array)
        kind = array.dtype if array.dtype == np.int64 else np.float32
        self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array, dtype=kind), name)
        return name

    def parameter(self, ref: Ref, node: Node) -> np.ndarray:
        """The stored array on an edge; raises :class:`NoTranslation` if the value is computed."""
        array = self.model.array(ref)
        if array is None:
            raise NoTranslation(f"{node}: its {ref.node.name} is computed, not stored; that cannot be exported")
        return array

    def emit(self, operator: str, node: Node, inputs: List[str], name: str = "", output: str = "", **attrs: Any) -> str:
        """Append an ONNX node and return the name of its output, by default the name of the MXNet node."""
        output = output or node.name
        self.nodes.append(helper.make_node(operator, inputs, [output], name=name or node.name, **attrs))
        return output
