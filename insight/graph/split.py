"""The fast graph: the same function without PReLU.

MXNet's and ONNX Runtime's CPU kernels keep feature maps in a blocked layout for convolution, ReLU and sum, but
not for a PReLU with a slope per channel, which costs more than the convolutions around it. With a slope a,
PReLU(y) = (1-a) relu(y) + a y, for any a, and both terms can be had from operators that stay in the layout:

- ``ahead``: a depthwise layer with weight K comes next, K * PReLU(y) = (1-a)K * relu(y) + aK * y;
- ``back``: a depthwise layer with weight K and bias b made y = K*x + b. With s = -1 where a > 1, else 1,
  s PReLU(y) = relu(|1-a| (K*x + b)) + s a (K*x + b), and s goes into the weights of what comes next;
- ``beside``: no neighbour is depthwise, so a depthwise 1x1 layer multiplies each term.

Depthwise layers cost next to nothing, so doubling one is cheap; doubling a full convolution is not, and on LResNet
loses more than PReLU costs. Fold batch norm first.
"""

from __future__ import annotations

from typing import List, Optional

import numpy as np

from . import linear, shapes
from .nodes import GraphModel, Node, Ref, Use


def split(model: GraphModel, size: Optional[tuple] = None) -> GraphModel:
    """A model that computes the same with PReLU on feature maps split in two; the given one is left alone.

    Parameters
    ----------
    model : GraphModel
        Folded, ending at the embedding.
    size : (int, int), optional
        Height and width of its images; found out where missing.
    """
    model = model.copy()
    edges = shapes.infer(model, size or shapes.image_size(model))
    for prelu in [node for node in model.graph.operators() if _is_prelu(model, node)]:
        edge = edges[Ref(prelu)]
        if len(edge) != 4 or edge[2] * edge[3] == 1:
            continue  # one value per channel: there is no layout to keep
        slope = np.broadcast_to(model.array(prelu.inputs[1]).astype(np.float64), (edge[1],))
        _split_back(model, prelu, slope) or _split_ahead(model, prelu, slope) or _split_beside(model, prelu, slope)
    return model


def _is_prelu(model: GraphModel, node: Node) -> bool:
    return node.op == "LeakyReLU" and node.text("act_type") == "prelu" and model.array(node.inputs[1]) is not None


def _is_depthwise(model: GraphModel, node: Node) -> bool:
    if node.op != "Convolution" or not linear.is_linear(model, node):
        return False
    return node.number("num_group", 1) == node.number("num_filter") > 1


def _relu(name: str, source: Ref) -> Ref:
    return Ref(Node("Activation", f"{name}_positive", {"act_type": "relu"}, [source]))


def _sum(name: str, left: Ref, right: Ref) -> Ref:
    return Ref(Node("elemwise_add", f"{name}_sum", {}, [left, right]))


def _layer(
    model: GraphModel, like: Node, name: str, source: Ref, weight: np.ndarray, bias: Optional[np.ndarray]
) -> Ref:
    """A convolution with the geometry of another and its own arrays."""
    kind = model.array(like.inputs[1]).dtype
    inputs = [source, model.add_parameter(f"{name}_weight", weight.astype(kind))]
    if bias is not None:
        inputs.append(model.add_parameter(f"{name}_bias", bias.astype(kind)))
    return Ref(Node("Convolution", name, {**like.attrs, "no_bias": str(bias is None)}, inputs))


def _split_back(model: GraphModel, prelu: Node, slope: np.ndarray) -> bool:
    layer = prelu.inputs[0].node
    sign = np.where(slope > 1, -1.0, 1.0)
    uses = model.graph.consumers()
    if not _is_depthwise(model, layer) or linear.only_use(model.graph, layer, uses) is None:
        return False
    if (sign < 0).any() and not _give_sign(model, uses[prelu], sign):
        return False
    weight, bias = linear.weight_and_bias(model, layer)

    def scaled(kind: str, factor: np.ndarray) -> Ref:
        return _layer(model, layer, f"{layer.name}_{kind}", layer.inputs[0], weight * _rows(factor), bias * factor)

    positive = _relu(prelu.name, scaled("positive", np.abs(1 - slope)))
    model.graph.replace(Ref(prelu), _sum(prelu.name, positive, scaled("linear", sign * slope)))
    return True


def _give_sign(model: GraphModel, uses: List[Use], sign: np.ndarray) -> bool:
    """Multiply the input channels of the layers that read; False, and nothing done, if one cannot take it."""
    factors = []
    for use in uses:
        if use.slot != 0 or not linear.is_linear(model, use.node):
            return False
        weight, bias = linear.weight_and_bias(model, use.node)
        factor = linear.input_factor(use.node, weight, sign)
        if factor is None:
            return False
        factors.append((use.node, weight * factor, bias))
    for layer, weight, bias in factors:
        linear.assign(model, layer, weight, bias)
    return bool(uses)


def _split_ahead(model: GraphModel, prelu: Node, slope: np.ndarray) -> bool:
    uses = model.graph.consumers()[prelu]
    if not uses or not all(use.slot == 0 and _is_depthwise(model, use.node) for use in uses):
        return False
    below = prelu.inputs[0]
    positive = _relu(prelu.name, below)
    for layer in [use.node for use in uses]:
        weight, bias = linear.weight_and_bias(model, layer)
        left = _layer(model, layer, f"{layer.name}_linear", below, weight * _rows(slope), None)
        right = _layer(model, layer, f"{layer.name}_positive", positive, weight * _rows(1 - slope), bias)
        model.graph.replace(Ref(layer), _sum(layer.name, left, right))
    return True


def _split_beside(model: GraphModel, prelu: Node, slope: np.ndarray) -> bool:
    channels = str(len(slope))
    like = Node("Convolution", "", {"kernel": "(1, 1)", "num_filter": channels, "num_group": channels}, prelu.inputs)
    below = prelu.inputs[0]
    left = _layer(model, like, f"{prelu.name}_linear", below, _rows(slope), None)
    right = _layer(model, like, f"{prelu.name}_scaled", _relu(prelu.name, below), _rows(1 - slope), None)
    model.graph.replace(Ref(prelu), _sum(prelu.name, left, right))
    return True


def _rows(per_channel: np.ndarray) -> np.ndarray:
    """(C,) to (C, 1, 1, 1): one row of a depthwise weight each."""
    return per_channel.reshape(-1, 1, 1, 1)
