"""A symbol as Python nodes, which can be read, rewritten and built again.

MXNet reads and upgrades the file (any version back to 0.8); this module works on the output of ``Symbol.tojson``, and
passes well-formed JSON back to MXNet. A graph holds references to its output nodes and no table of nodes, so unused
nodes disappear automatically.
"""

from __future__ import annotations

import ast
import json
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from .._mxnet import mx
from ..errors import InsightError

BATCH_NORM_EPS = 1e-3  # the symbol operator's default; Gluon's layer always writes its own, 1e-5

_FORMAT = ["int", 10901]  # version in the JSON that we write: MXNet 1.9.1


class Node:
    """One operator, or a variable (``op == "null"``), of a graph.

    Attributes
    ----------
    op, name : str
    attrs : dict of str to str
        In MXNet's spelling; read them through :meth:`flag`, :meth:`number`, :meth:`shape`.
    inputs : list of Ref
        In the operator's order: data, weight, bias, …
    """

    __slots__ = ("attrs", "inputs", "name", "op")

    def __init__(self, op: str, name: str, attrs: Optional[dict] = None, inputs: Optional[list] = None):
        self.op = op
        self.name = name
        self.attrs: Dict[str, str] = dict(attrs or {})
        self.inputs: List[Ref] = list(inputs or ())

    def __repr__(self) -> str:
        return f"{self.op} {self.name!r}"

    @property
    def is_variable(self) -> bool:
        """Whether the node is an input or a parameter, not an operator."""
        return self.op == "null"

    def text(self, key: str, default: str = "") -> str:
        """An attribute as text, unparsed."""
        return self.attrs.get(key, default)

    def value(self, key: str, default: Any = None) -> Any:
        """An attribute parsed as a Python literal."""
        text = self.attrs.get(key)
        if text is None:
            return default
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            raise InsightError(f"{self}: attribute {key}={text!r} is not readable") from None

    def flag(self, key: str, default: bool) -> bool:
        """A boolean attribute; MXNet writes True, true or 1."""
        text = self.attrs.get(key)
        return default if text is None else text.strip().lower() in ("true", "1")

    def number(self, key: str, default: float = 0) -> float:
        """A numeric attribute; an int stays an int."""
        value = self.value(key, default)
        return default if value is None else value

    def shape(self, key: str, default: tuple = ()) -> Tuple[int, ...]:
        """An attribute of the kind ``(3, 3)`` or ``[3,3]``; ``()`` counts as absent."""
        value = self.value(key, default) or default
        return tuple(value) if isinstance(value, (tuple, list)) else (value,)


class Ref(NamedTuple):
    """One output of a node, which is the source of an edge of the graph."""

    node: Node
    index: int = 0


class Graph:
    """The graph of a symbol: its outputs, and all nodes reachable from them.

    Parameters
    ----------
    outputs : list of Ref
    """

    def __init__(self, outputs: List[Ref]):
        self.outputs = list(outputs)

    @classmethod
    def from_symbol(cls, symbol: mx.sym.Symbol) -> Graph:
        """Read a symbol.

        Raises
        ------
        InsightError
            The symbol has control flow (a graph inside a node), which no supported network uses.
        """
        document = json.loads(symbol.tojson())
        nodes: List[Node] = []
        for entry in document["nodes"]:
            if entry.get("subgraphs"):
                raise InsightError(f"operator {entry['op']} at node {entry['name']!r}: control flow is not supported")
            inputs = [Ref(nodes[source], index) for source, index, *_ in entry["inputs"]]
            nodes.append(Node(entry["op"], entry["name"], entry.get("attrs"), inputs))
        return cls([Ref(nodes[source], index) for source, index, *_ in document["heads"]])

    def to_symbol(self) -> mx.sym.Symbol:
        """Build the symbol; write it with ``Symbol.save``, whose layout converters rely on."""
        nodes = self.nodes()
        number = {node: i for i, node in enumerate(nodes)}

        def edges(refs):
            return [[number[ref.node], ref.index, 0] for ref in refs]

        document = {
            "nodes": [
                {"op": n.op, "name": n.name, "attrs": dict(sorted(n.attrs.items())), "inputs": edges(n.inputs)}
                for n in nodes
            ],
            "arg_nodes": [i for i, n in enumerate(nodes) if n.is_variable],
            "heads": edges(self.outputs),
            "attrs": {"mxnet_version": _FORMAT},
        }
        return mx.sym.load_json(json.dumps(document))

    def nodes(self) -> List[Node]:
        """All nodes once, each after its inputs (depth first, in MXNet's order)."""
        order: List[Node] = []
        seen = set()
        for output in self.outputs:
            stack = [(output.node, iter(output.node.inputs))]
            while stack:
                node, pending = stack[-1]
                if node in seen:
                    stack.pop()
                    continue
                below = next(pending, None)
                if below is None:
                    seen.add(node)
                    order.append(node)
                    stack.pop()
                elif below.node not in seen:
                    stack.append((below.node, iter(below.node.inputs)))
        return order

    def operators(self) -> List[Node]:
        """All nodes that are operators."""
        return [node for node in self.nodes() if not node.is_variable]

    def variables(self) -> List[Node]:
        """All nodes that are inputs or parameters."""
        return [node for node in self.nodes() if node.is_variable]

    def find(self, name: str) -> Optional[Node]:
        """The operator of that name; None if there is none."""
        return next((node for node in self.nodes() if node.name == name and not node.is_variable), None)

    def consumers(self) -> Dict[Node, List[Use]]:
        """Uses of the outputs of each node; outputs of the graph do not count as uses."""
        uses: Dict[Node, List[Use]] = {node: [] for node in self.nodes()}
        for node in uses:
            for slot, ref in enumerate(node.inputs):
                uses[ref.node].append(Use(node, slot))
        return uses

    def replace(self, old: Ref, new: Ref) -> None:
        """Replace ``old`` by ``new`` in all inputs and graph outputs; ``new`` must not depend on ``old``.

        A graph output keeps its name: the new node gets the old node's.
        """
        for node in self.nodes():
            node.inputs = [new if ref == old else ref for ref in node.inputs]
        if old in self.outputs:
            self.outputs = [new if ref == old else ref for ref in self.outputs]
            old.node.name, new.node.name = new.node.name, old.node.name

    def fresh_name(self, wanted: str) -> str:
        """``wanted`` if no node has that name, else ``wanted`` with a number appended."""
        taken = {node.name for node in self.nodes()}
        return next(name for name in _numbered(wanted) if name not in taken)


class Use(NamedTuple):
    """A use of a node's output: input ``slot`` of ``node``."""

    node: Node
    slot: int


def _numbered(name: str) -> Iterator[str]:
    yield name
    count = 1
    while True:
        yield f"{name}_{count}"
        count += 1


class GraphModel:
    """A graph and the arrays of its parameters.

    Parameters
    ----------
    graph : Graph
    params : dict of str to numpy.ndarray
        Learned parameters and running statistics, by the name of their variable.
    """

    def __init__(self, graph: Graph, params: Dict[str, np.ndarray]):
        self.graph = graph
        self.params = dict(params)

    @classmethod
    def from_mxnet(cls, symbol: mx.sym.Symbol, arg_params: dict, aux_params: dict) -> GraphModel:
        """Build from the content of a checkpoint: ``GraphModel.from_mxnet(*checkpoint.load(prefix, epoch))``."""
        arrays = {**arg_params, **aux_params}
        return cls(Graph.from_symbol(symbol), {name: array.asnumpy() for name, array in arrays.items()})

    def to_mxnet(self) -> tuple:
        """(symbol, arg_params, aux_params), with the parameters that the graph uses."""
        symbol = self.graph.to_symbol()
        parts = []
        for names in (symbol.list_arguments(), symbol.list_auxiliary_states()):
            stored = [name for name in names if name in self.params]
            parts.append({name: mx.nd.array(self.params[name], dtype=self.params[name].dtype) for name in stored})
        return (symbol, *parts)

    def copy(self) -> GraphModel:
        """A copy whose rewriting does not change this model; the arrays are shared and must not be written to."""
        twin: Dict[Node, Node] = {}
        for node in self.graph.nodes():
            twin[node] = Node(node.op, node.name, node.attrs, [Ref(twin[r.node], r.index) for r in node.inputs])
        return GraphModel(Graph([Ref(twin[ref.node], ref.index) for ref in self.graph.outputs]), self.params)

    def array(self, ref: Ref) -> Optional[np.ndarray]:
        """The parameter of an edge; None if its value is computed."""
        return self.params.get(ref.node.name) if ref.node.is_variable else None

    def add_parameter(self, name: str, array: np.ndarray) -> Ref:
        """Add a variable and its array under ``name``; a number is appended if the name is taken."""
        name = next(n for n in _numbered(self.graph.fresh_name(name)) if n not in self.params)
        self.params[name] = array
        return Ref(Node("null", name))
