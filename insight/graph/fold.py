"""Fold batch norm into neighbouring convolutions or fully connected layers; drop nodes that inference does not need.

At inference BN(y) = scale * y + shift per channel, with scale = gamma / sqrt(var + eps) and
shift = beta - mean * scale. After a convolution it can be folded into weight and bias exactly. Before a convolution
that is exact only without padding: padding adds zeros after the batch norm, and a bias would shift them as well. If
folding is not exact, the batch norm is kept.
"""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np

from . import linear
from .nodes import BATCH_NORM_EPS, Graph, GraphModel, Node, Ref

IDENTITY = ("Dropout", "_copy", "identity", "BlockGrad", "stop_gradient")  # at inference


def fold(model: GraphModel) -> GraphModel:
    """A model that computes the same with fewer nodes; the given model is not modified."""
    model = model.copy()
    drop_identities(model.graph)
    for norm in [node for node in model.graph.operators() if node.op == "BatchNorm"]:
        folded = affine(model, norm)
        if folded is not None:
            _fold_back(model, norm, *folded) or _fold_ahead(model, norm, *folded)
    return model


def drop_identities(graph: Graph) -> None:
    """Remove nodes that are the identity at inference, such as Dropout."""
    for node in graph.operators():
        if node.op not in IDENTITY or node.text("mode") == "always":
            continue
        if Ref(node) in graph.outputs and node.inputs[0].node.is_variable:
            continue  # no operator would be left to carry the output's name
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
    """Fold into the layer before the batch norm; False if that is not possible."""
    layer = norm.inputs[0].node
    if not linear.is_linear(model, layer) or linear.only_use(model.graph, layer, model.graph.consumers()) is None:
        return False
    weight = model.array(layer.inputs[1])
    folded = linear.scaled(weight, scale.reshape(-1, *[1] * (weight.ndim - 1)))
    linear.assign(model, layer, folded, linear.bias_of(model, layer) * scale + shift)
    model.graph.replace(Ref(norm), Ref(layer))
    return True


def _fold_ahead(model: GraphModel, norm: Node, scale: np.ndarray, shift: np.ndarray) -> bool:
    """Fold into the layer after the batch norm, unless it has padding; False if that is not possible."""
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
