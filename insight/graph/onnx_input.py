"""Rules by which pip insightface classifies an ONNX network, from its ``model_zoo`` (0.7 to 2.1).

Does not need MXNet, because engines of exported files import it.
"""

from __future__ import annotations

from typing import Iterable, Tuple

LOOK_AT = 8  # number of first nodes that are searched for a normalisation


def normalises(nodes: Iterable) -> bool:
    """Whether a network takes raw pixels: its first nodes include a subtraction and a multiplication, by operator or by
    name. ArcFaceONNX checks the names.

    Parameters
    ----------
    nodes : iterable of onnx.NodeProto
        Nodes of the graph in order.
    """
    first = list(nodes)[:LOOK_AT]
    subtracts = any(node.op_type == "Sub" or node.name.startswith(("Sub", "_minus")) for node in first)
    multiplies = any(node.op_type == "Mul" or node.name.startswith(("Mul", "_mul")) for node in first)
    return subtracts and multiplies


def is_routed_to_arcface(size: Tuple[int, int]) -> bool:
    """Whether ``model_zoo.get_model`` opens a network with one output as a face-embedding network, by its image size.

    Parameters
    ----------
    size : (int, int)
        Height and width. It opens square sizes from 112 in steps of 16 only, and 192x192 as a landmark network.
    """
    height, width = size
    return height == width != 192 and height >= 112 and height % 16 == 0
