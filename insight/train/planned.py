"""Memory of the arrays of a training step, planned in the same way as by MXNet.

A hybridised block with static memory keeps its arrays from one step to the next. MXNet 1.9.1 plans them from the graph
(src/imperative/cached_op.cc, src/nnvm/plan_memory.cc) in two parts:

- forward: each array that the backward pass reads has a block of its own; the others reuse blocks that are free;
- backward: gradients share blocks with each other, but not with arrays of the forward pass.

On the CPU, oneDNN's operators write feature maps in a blocked layout (blocks of channels). An operator of MXNet itself
that reads such a map makes a copy in plain layout and keeps it.

Parameters, their gradients and the operators' scratch memory are not counted.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter, defaultdict
from typing import Dict, List, NamedTuple, Set, Tuple

import numpy as np

INPUTS, OUTPUT, MASK, NOTHING = "inputs", "output", "mask", "nothing"
# What the backward pass of an operator reads besides gradients; for operators not listed, inputs and output.
READS = {
    **dict.fromkeys(("Convolution", "FullyConnected", "BatchNorm", "LeakyReLU", "clip"), INPUTS),
    **dict.fromkeys(("elemwise_mul", "broadcast_mul", "broadcast_div", "dot", "_contrib_BatchNormWithReLU"), INPUTS),
    **dict.fromkeys(("Activation", "relu", "sigmoid", "tanh", "L2Normalization"), OUTPUT),
    "Dropout": MASK,
    **dict.fromkeys(("elemwise_add", "elemwise_sub", "broadcast_add", "broadcast_sub", "add_n", "Concat"), NOTHING),
    **dict.fromkeys(("_plus_scalar", "_minus_scalar", "_rminus_scalar", "_mul_scalar", "_div_scalar"), NOTHING),
    **dict.fromkeys(
        ("Reshape", "reshape_like", "Flatten", "transpose", "expand_dims", "squeeze", "slice_axis"), NOTHING
    ),
    **dict.fromkeys(("_copy", "negative", "Cast", "amp_cast", "mean", "SliceChannel"), NOTHING),
}
NO_GRADIENT = ("BlockGrad", "ones_like", "zeros_like", "broadcast_greater", "broadcast_lesser")
# Operators that write into the block of an input if no other operator reads it later and the sizes are equal.
IN_PLACE = {
    *("elemwise_add", "elemwise_sub", "elemwise_mul", "Activation", "BlockGrad", "_copy", "negative"),
    *("_plus_scalar", "_minus_scalar", "_rminus_scalar", "_mul_scalar", "_div_scalar"),
    *("Reshape", "reshape_like", "Flatten", "expand_dims", "squeeze"),
}
WORKSPACE = (
    "_contrib_BatchNormWithReLU"  # has a hidden output as large as the visible one, and uses one bit per element of it
)
# oneDNN's operators that write in the layout of their input; its convolutions always write the blocked layout.
FOLLOWING = ("BatchNorm", WORKSPACE, "Activation", "Pooling", "elemwise_add", "Concat")
LARGER = 16  # a block is reused for an array if their sizes differ at most by this factor

Edge = Tuple[int, int]  # index of a node, index of its output


class Plan(NamedTuple):
    """Bytes of the arrays of a training step."""

    forward: int
    backward: int
    workspaces: int  # the part of the hidden outputs that is written to
    copies: int  # of feature maps, in plain layout
    largest: int  # the largest array of the graph

    @property
    def total(self) -> int:
        """Bytes that are held from step to step."""
        return self.forward + self.backward + self.workspaces + self.copies


def plan(symbol, data_shape: Tuple[int, ...]) -> Plan:
    """Plan the memory of a training step.

    Parameters
    ----------
    symbol : mxnet.sym.Symbol
        From ``data`` to embeddings. It may contain casts to half precision, which are taken into account.
    data_shape : tuple
        (B, 3, H, W).
    """
    graph = _Graph(symbol, data_shape)
    kept, workspaces = graph.read_by_backward()
    return Plan(_forward(graph, kept), _backward(graph), workspaces, graph.copied(), max(graph.sizes.values()))


def inference(symbol, data_shape: Tuple[int, ...]) -> int:
    """Bytes of the arrays of a forward pass without a backward pass; for the parameters, see :func:`plan`."""
    return _forward(_Graph(symbol, data_shape), set())


class _Graph:
    """Nodes of a symbol in the order in which MXNet runs them.

    Attributes
    ----------
    operators, inputs : list
        For each node, the operator's name (``null`` for variables) and the input edges.
    outputs : list of Edge
        Outputs of the graph.
    sizes : dict of Edge to int
        Bytes of each output of an operator.
    written : dict of int to list of Edge
        For each operator, its outputs.
    readers : Counter of Edge
        How many inputs read an edge.
    learns : set of int
        Operators whose backward pass is run, and parameters that get a gradient.
    """

    def __init__(self, symbol, data_shape: Tuple[int, ...]):
        document = json.loads(symbol.tojson(remove_amp_cast=False))
        nodes = document["nodes"]
        self.operators: List[str] = [node["op"] for node in nodes]
        self.inputs: List[List[Edge]] = [[(i, k) for i, k, *_ in node["inputs"]] for node in nodes]
        self.outputs: List[Edge] = [(i, k) for i, k, *_ in document["heads"]]
        self.readers: Counter = Counter(edge for edges in self.inputs for edge in edges)
        self.sizes = _sizes(symbol, [node["name"] for node in nodes], self.operators, data_shape)
        self.written: Dict[int, List[Edge]] = defaultdict(list)
        for edge in self.sizes:
            self.written[edge[0]].append(edge)
        fixed = {"data", *symbol.list_auxiliary_states()}
        self.learns = self._learning(
            {i for i, node in enumerate(nodes) if node["op"] == "null" and node["name"] not in fixed}
        )

    def _learning(self, parameters: Set[int]) -> Set[int]:
        """Nodes on a path from a parameter to an output of the graph along which gradients flow."""
        above = set(parameters)
        for i in self.nodes():
            if self.operators[i] not in NO_GRADIENT and any(source in above for source, _ in self.inputs[i]):
                above.add(i)
        reached = {i for i, _ in self.outputs}
        for i in reversed(self.nodes()):
            if i in reached and i in above:
                reached.update(source for source, _ in self.inputs[i])
        return above & reached

    def nodes(self) -> List[int]:
        """Indices of the operators, without variables."""
        return [i for i, operator in enumerate(self.operators) if operator != "null"]

    def read_by_backward(self) -> Tuple[Set[Edge], int]:
        """(edges that are kept for the backward pass, bytes of masks and hidden outputs kept for it)."""
        kept, aside = set(self.outputs), 0
        for i in self.nodes():
            if i not in self.learns:
                continue
            reads, size = READS.get(self.operators[i], INPUTS + OUTPUT), self.sizes.get((i, 0), 0)
            if INPUTS in reads:
                kept.update(self.inputs[i])
            if OUTPUT in reads:
                kept.add((i, 0))
            if reads == MASK:
                aside += size
            if self.operators[i] == WORKSPACE:
                aside += size // 32
        return kept, aside

    def copied(self) -> int:
        """Bytes of the copies in plain layout of feature maps in blocked layout, and of their gradients."""
        blocked: Set[int] = set()  # nodes
        forwards: Set[Edge] = set()  # maps with a copy; operators that read the same map share it
        backwards: Set[Edge] = set()
        copies = 0
        for i in self.nodes():
            operator = self.operators[i]
            maps = [edge for edge in self.inputs[i] if edge[0] in blocked]
            if operator == "Convolution" or (operator in FOLLOWING and maps):
                blocked.add(i)
                gradients = [edge for edge in self.below(i) if self._plain(edge[0])]
                copies += sum(self.sizes[edge] for edge in gradients)
            elif self._plain(i):
                reads = READS.get(operator, INPUTS + OUTPUT) if i in self.learns else NOTHING
                forwards.update(maps)
                backwards.update(maps if INPUTS in reads else ())
        return copies + sum(self.sizes[edge] for edge in (*forwards, *backwards))

    def _plain(self, i: int) -> bool:
        """Whether it is an operator on feature maps that MXNet itself computes, without oneDNN."""
        return self.operators[i] not in ("null", "Convolution", "FullyConnected", "Flatten", "Reshape", *FOLLOWING)

    def below(self, i: int) -> List[Edge]:
        """Inputs of a node whose gradients are passed on to other operators."""
        return [edge for edge in self.inputs[i] if edge in self.sizes and edge[0] in self.learns]


def _sizes(symbol, names: List[str], operators: List[str], data_shape: Tuple[int, ...]) -> Dict[Edge, int]:
    """Bytes of each visible output of an operator."""
    internals = symbol.get_internals()
    shapes = internals.infer_shape(data=data_shape)[1]
    types = internals.infer_type(data=np.float32)[1]
    written = {
        name: math.prod(shape) * np.dtype(kind).itemsize
        for name, shape, kind in zip(internals.list_outputs(), shapes, types)
    }
    return {
        (i, k): written[output]
        for i, (name, operator) in enumerate(zip(names, operators))
        if operator != "null"
        for k, output in enumerate(_visible(name, written))
    }


def _visible(name: str, known: dict) -> List[str]:
    """Names of an operator's visible outputs: NAME_output, or NAME_output0, NAME_output1, …"""
    if f"{name}_output" in known:
        return [f"{name}_output"]
    numbered = (f"{name}_output{k}" for k in itertools.count())
    return list(itertools.takewhile(known.__contains__, numbered))


class _Blocks:
    """Blocks of memory that arrays reuse one after the other."""

    def __init__(self) -> None:
        self._sizes: List[int] = []
        self._free: Set[int] = set()

    @property
    def total(self) -> int:
        """Bytes of all blocks."""
        return sum(self._sizes)

    def take(self, size: int) -> int:
        """Index of a block: the smallest free one that is large enough, else the largest, enlarged, else a new one."""
        near = [b for b in self._free if size <= self._sizes[b] * LARGER and self._sizes[b] <= size * LARGER]
        enough = [b for b in near if self._sizes[b] >= size]
        if enough:
            block = min(enough, key=self._sizes.__getitem__)
        elif near:
            block = max(near, key=self._sizes.__getitem__)
            self._sizes[block] = size
        else:
            self._sizes.append(size)
            return len(self._sizes) - 1
        self._free.remove(block)
        return block

    def give_back(self, block: int) -> None:
        """Free a block."""
        self._free.add(block)


def _forward(graph: _Graph, kept: Set[Edge]) -> int:
    """Bytes of the blocks of a forward pass, in which the ``kept`` edges are never freed."""
    blocks, held, unread = _Blocks(), {}, Counter(graph.readers)
    for i in graph.nodes():
        last = [edge for edge in graph.inputs[i] if edge in held and edge not in kept and unread[edge] == 1]
        same = [edge for edge in last if graph.sizes[edge] == graph.sizes.get((i, 0))]
        if graph.operators[i] in IN_PLACE and same:
            held[(i, 0)] = held.pop(same[0])
        held.update((edge, blocks.take(graph.sizes[edge])) for edge in graph.written[i] if edge not in held)
        unread.subtract(graph.inputs[i])
        for edge in set(graph.inputs[i]):
            if not unread[edge] and edge in held and edge not in kept:
                blocks.give_back(held.pop(edge))
    return blocks.total


def _backward(graph: _Graph) -> int:
    """Bytes of the blocks of the gradients between operators."""
    blocks: _Blocks = _Blocks()
    gradients: Dict[Edge, List[int]] = defaultdict(list)  # blocks of the terms of each gradient
    for i in reversed(graph.nodes()):
        if i not in graph.learns:
            continue
        arrived = gradients.pop((i, 0), [])
        for block in arrived[1:]:  # their terms are added to the first one
            blocks.give_back(block)
        arrived = arrived[:1]
        for edge in graph.below(i):
            size = graph.sizes[edge]
            if arrived and graph.operators[i] in IN_PLACE and size == graph.sizes.get((i, 0)):
                gradients[edge].append(arrived.pop())
            else:
                gradients[edge].append(blocks.take(size))
        for block in arrived:
            blocks.give_back(block)
    return blocks.total
