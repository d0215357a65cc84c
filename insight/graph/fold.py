"""Fold batch norm into the convolution or fully connected layer beside it; drop what inference does not need.

At inference BN(y) = scale * y + shift per channel, with scale = gamma / sqrt(var + eps) and
shift = beta - mean * scale. Behind a convolution that is a change of its weight and bias, always exact.
Before one it is exact only without padding: the zeros of a border are zeros behind the batch norm, and
a bias cannot tell them from the inside. Where it is not exact the batch norm stays.
"""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np

from . import linear
from .nodes import BATCH_NORM_EPS, Graph, GraphModel, Node, Ref

IDENTITY = ("Dropout", "_copy", "identity", "BlockGrad", "stop_gradient")  # at inference


def fold(model: GraphModel) -> GraphModel:
    """A model that computes the same with fewer nodes; the given one is left alone."""
    model = model.copy()
    drop_identities(model.graph)
    for norm in [node for node in model.graph.operators() if node.op == "BatchNorm"]:
        folded = affine(model, norm)
        if folded is not None:
            _fold_back(model, norm, *folded) or _fold_ahead(model, norm, *folded)
    return model


def drop_identities(graph: Graph) -> None:
    """Take out what passes its input on at inference: Dropout and the like."""
    for node in graph.operators():
        if node.op not in IDENTITY or node.text("mode") == "always":
            continue
        if Ref(node) in graph.outputs and node.inputs[0].node.is_variable:
            continue  # nothing would be left to bear the output's name
        graph.replace(Ref(node), node.inputs[0])


def affine(model: GraphModel, norm: Node) -> Optional[Tuple[np.ndarray, np.ndarray]]:
    """(scale, shift), each (C,) float64, of a BatchNorm at inference; None if it is not per channel of NCHW."""
    arrays = [model.array(ref) for ref in norm.inputs[1:5]]
    if any(array is None for array in arrays) or norm.number("axis", 1) != 1:
        return None
    gamma, beta, mean, variance = (array.astype(np.float64) for array in arrays)
    if norm.flag("fix_gamma", True):
        gamma = np.ones_like(gamma)
    scale = gamma / np.sqrt(variance + norm.number("eps", BATCH_NORM_EPS))
    return scale, beta - mean * scale


def _fold_back(model: GraphModel, norm: Node, scale: np.ndarray, shift: np.ndarray) -> bool:
    """Into the layer that feeds it."""
    layer = norm.inputs[0].node
    if not linear.is_linear(model, layer) or linear.only_use(model.graph, layer, model.graph.consumers()) is None:
        return False
    weight = model.array(layer.inputs[1])
    folded = linear.scaled(weight, scale.reshape(-1, *[1] * (weight.ndim - 1)))
    linear.assign(model, layer, folded, linear.bias_of(model, layer) * scale + shift)
    model.graph.replace(Ref(norm), Ref(layer))
    return True


def _fold_ahead(model: GraphModel, norm: Node, scale: np.ndarray, shift: np.ndarray) -> bool:
    """Into the layer that it feeds, where no padding comes between."""
    uses = model.graph.consumers()
    use = linear.only_use(model.graph, norm, uses)
    while use is not None and use.node.op in linear.FLATTEN:
        use = linear.only_use(model.graph, use.node, uses)
    if use is None or use.slot != 0 or not linear.is_linear(model, use.node) or any(use.node.shape("pad")):
        return False
    weight = model.array(use.node.inputs[1])
    factor = linear.input_factor(use.node, weight, scale)
    if factor is None:
        return False
    moved = linear.weighted_sums(weight, linear.input_factor(use.node, weight, shift))
    linear.assign(model, use.node, linear.scaled(weight, factor), linear.bias_of(model, use.node) + moved)
    model.graph.replace(Ref(norm), norm.inputs[0])
    return True
