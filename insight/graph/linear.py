"""Convolution and FullyConnected as linear maps of channels, for rewrites of their neighbours.

Weights are (out, in / groups, kh, kw) or (out, in); a fully connected layer after a feature map reads it
flattened channel by channel. Arithmetic is in float64; arrays keep their dtype.
"""

from __future__ import annotations

from typing import Dict, Iterator, List, Optional, Tuple

import numpy as np

from .nodes import Graph, GraphModel, Node, Ref, Use

LINEAR = ("Convolution", "FullyConnected")
FLATTEN = ("Flatten", "flatten")
ROWS = 64  # rows of a weight that are converted to float64 at once


def is_linear(model: GraphModel, node: Node) -> bool:
    """Whether a node is a layer with stored weight and bias that may be changed."""
    if node.op not in LINEAR or any(model.array(ref) is None for ref in node.inputs[1:]):
        return False
    if node.op == "FullyConnected":
        return node.flag("flatten", True)
    return node.text("layout", "None") in ("None", "NCHW") and len(node.shape("kernel")) == 2


def weight_and_bias(model: GraphModel, layer: Node) -> Tuple[np.ndarray, np.ndarray]:
    """(weight, bias) in float64; a missing bias is zeros."""
    return model.array(layer.inputs[1]).astype(np.float64), bias_of(model, layer)


def bias_of(model: GraphModel, layer: Node) -> np.ndarray:
    """The bias in float64; a missing one is zeros."""
    if layer.flag("no_bias", False) or len(layer.inputs) < 3:
        return np.zeros(len(model.array(layer.inputs[1])))
    return model.array(layer.inputs[2]).astype(np.float64)


def scaled(weight: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """``weight * factor``, computed in float64 and converted to the weight's type."""
    product, factor = np.empty_like(weight, order="C"), np.broadcast_to(factor, weight.shape)
    for rows in _in_parts(weight):
        product[rows] = weight[rows].astype(np.float64) * factor[rows]
    return product


def weighted_sums(weight: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The sums of the rows of ``weight * factor``, (out,) float64."""
    factor = np.broadcast_to(factor, weight.shape)
    products = ((weight[rows].astype(np.float64) * factor[rows]) for rows in _in_parts(weight))
    return np.concatenate([product.reshape(len(product), -1).sum(axis=1) for product in products])


def _in_parts(weight: np.ndarray) -> Iterator[slice]:
    """Blocks of rows: a whole fully connected layer in float64 would need more memory than the network."""
    return (slice(begin, begin + ROWS) for begin in range(0, len(weight), ROWS))


def assign(model: GraphModel, layer: Node, weight: np.ndarray, bias: np.ndarray) -> None:
    """Replace the arrays of a layer, under the same names unless another layer shares them."""
    kind = model.array(layer.inputs[1]).dtype
    had_bias = len(layer.inputs) > 2 and not layer.flag("no_bias", False)
    layer.inputs[1] = _store(model, layer.inputs[1], weight.astype(kind, copy=False))
    if had_bias:
        layer.inputs[2] = _store(model, layer.inputs[2], bias.astype(kind))
    elif bias.any():
        layer.attrs["no_bias"] = "False"
        layer.inputs[2:] = [model.add_parameter(f"{layer.name}_bias", bias.astype(kind))]


def _store(model: GraphModel, ref: Ref, array: np.ndarray) -> Ref:
    if len(model.graph.consumers().get(ref.node, ())) > 1:
        return model.add_parameter(ref.node.name, array)
    model.params[ref.node.name] = array
    return ref


def input_factor(layer: Node, weight: np.ndarray, per_channel: np.ndarray) -> Optional[np.ndarray]:
    """Values per input channel (C,), reshaped to multiply the weight; None if they do not fit."""
    if layer.op == "FullyConnected":
        spread, rest = divmod(weight.shape[1], len(per_channel))
        return None if rest else np.repeat(per_channel, spread)[None, :]
    groups = int(layer.number("num_group", 1))
    if weight.shape[1] * groups != len(per_channel):
        return None
    rows = np.repeat(per_channel.reshape(groups, -1), len(weight) // groups, axis=0)
    return rows[:, :, None, None]


def only_use(graph: Graph, node: Node, uses: Dict[Node, List[Use]]) -> Optional[Use]:
    """The only use of a node's output; None if it has several or none, or is an output of the graph."""
    if len(uses[node]) != 1 or any(ref.node is node for ref in graph.outputs):
        return None
    return uses[node][0]
