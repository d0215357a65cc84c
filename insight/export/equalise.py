"""Give the channels of each feature map like ranges, without changing what the network computes.

One scale per feature map serves all its channels; a MobileFaceNet whose batch norms are folded has channels a
hundred times as wide as others, and 8 bits lose the narrow ones. Between layers that are linear in each channel a
positive factor per channel can be divided out of the weights that make a feature map and multiplied into those
that read it, since PReLU, ReLU, sums and pooling let it pass. Nagel et al., "Data-Free Quantization Through Weight
Equalization and Bias Correction", ICCV 2019, equation 11, with ranges that were seen on faces in place of those of
the weights; for a full convolution the factor is the root of range over weight, as there, since the factor is
spread over weights that share a scale; depthwise weights have one scale per channel and take all of it.
"""

from __future__ import annotations

from typing import Dict, List, Mapping, Optional

import numpy as np

from ..graph import linear
from ..graph.nodes import Graph, GraphModel, Node
from ..graph.onnx_ops import ELEMENTWISE

PASSING = ("Pooling", *linear.FLATTEN, *ELEMENTWISE["Add"], *ELEMENTWISE["Sum"])
LEAST = 1e-4  # of the largest channel: a narrower one is taken for that wide


def equalise(model: GraphModel, peaks: Mapping[str, np.ndarray]) -> GraphModel:
    """A model that computes the same, with feature maps whose channels have like ranges.

    Parameters
    ----------
    model : GraphModel
        Folded; it is left alone.
    peaks : mapping of str to numpy.ndarray
        Largest magnitude (C,) of each channel that each operator of :func:`groups` gave, by the name of its node.
    """
    model = model.copy()
    for group in groups(model):
        _equalise(model, group, peaks)
    return model


def groups(model: GraphModel) -> List[List[Node]]:
    """Operators whose outputs have to share their factors, where each may have one."""
    leader: Dict[Node, Node] = {node: node for node in model.graph.operators()}

    def lead(node: Node) -> Node:
        while leader[node] is not node:
            node = leader[node]
        return node

    fixed = [ref.node for ref in model.graph.outputs]
    for node in leader:
        below = [ref.node for ref in node.inputs if not ref.node.is_variable]
        if linear.is_linear(model, node):
            continue  # takes factors at its input and gives others
        if not below or not _passes(model.graph, node):
            fixed += [node, *below]
            continue
        for source in below:
            leader[lead(source)] = lead(node)
    members: Dict[Node, List[Node]] = {}
    for node in leader:
        members.setdefault(lead(node), []).append(node)
    barred = {lead(node) for node in fixed if node in leader}
    return [group for first, group in members.items() if first not in barred]


def _passes(graph: Graph, node: Node) -> bool:
    """Whether f(s x) = s f(x) for positive s per channel."""
    kind = node.text("act_type", "leaky" if node.op == "LeakyReLU" else "")
    if (node.op, kind) in (("LeakyReLU", "prelu"), ("LeakyReLU", "leaky"), ("Activation", "relu")):
        return True
    computed = not any(ref.node.is_variable or ref.index for ref in node.inputs)
    return node.op == "relu" or (node.op in PASSING and computed)


def _equalise(model: GraphModel, group: List[Node], peaks: Mapping[str, np.ndarray]) -> None:
    uses = model.graph.consumers()
    makers = [node for node in group if linear.is_linear(model, node)]
    readers = [use.node for node in group for use in uses[node] if use.node not in group or use.node in makers]
    widths = {len(model.array(node.inputs[1])) for node in makers}
    if len(widths) != 1 or not readers:
        return
    (width,) = widths
    factor = _factor(model, width, [peaks[node.name] for node in group], readers)
    if factor is None:
        return
    for node in makers:
        weight, bias = linear.weight_and_bias(model, node)
        linear.assign(model, node, weight / factor.reshape(-1, *[1] * (weight.ndim - 1)), bias / factor)
    for node in readers:
        weight, bias = linear.weight_and_bias(model, node)
        linear.assign(model, node, weight * linear.input_factor(node, weight, factor), bias)


def _factor(model: GraphModel, width: int, peaks: List[np.ndarray], readers: List[Node]) -> Optional[np.ndarray]:
    """What each of ``width`` channels is divided by, which leaves the widest at 1; None where a reader does not fit."""
    wide = np.max([_at_least(peak.astype(np.float64)) for peak in peaks if len(peak) == width], axis=0)
    heavy = np.zeros(width)
    for node in readers:
        weight, _ = linear.weight_and_bias(model, node)
        if linear.input_factor(node, weight, wide) is None:
            return None
        if len(weight) == width == node.number("num_group", 1):
            continue  # depthwise: a scale of its own for each channel
        if node.number("num_group", 1) != 1:
            return None
        heavy = np.maximum(heavy, np.abs(weight).reshape(len(weight), width, -1).max(axis=(0, 2)))
    factor = np.sqrt(wide / _at_least(heavy)) if heavy.any() else wide
    return factor * (wide / factor).max()  # OpenVINO takes ranges of a millionth for empty


def _at_least(values: np.ndarray) -> np.ndarray:
    """No channel narrower than a small part of the widest."""
    return np.maximum(values, values.max() * LEAST or 1.0)
