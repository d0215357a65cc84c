"""What pip insightface makes of an ONNX network, by the rules of its ``model_zoo`` (0.7 to 2.1).

Needs no MXNet: engines of finished files read this.
"""

from __future__ import annotations

from typing import Iterable, Tuple

LOOK_AT = 8  # nodes at the start among which a normalisation is looked for


def normalises(nodes: Iterable) -> bool:
    """Whether a network takes raw pixels: a subtraction and a multiplication stand among its first nodes, by operator
    or by name. ArcFaceONNX goes by the name.

    Parameters
    ----------
    nodes : iterable of onnx.NodeProto
        Of the graph, from its start.
    """
    first = list(nodes)[:LOOK_AT]
    subtracts = any(node.op_type == "Sub" or node.name.startswith(("Sub", "_minus")) for node in first)
    multiplies = any(node.op_type == "Mul" or node.name.startswith(("Mul", "_mul")) for node in first)
    return subtracts and multiplies


def is_routed_to_arcface(size: Tuple[int, int]) -> bool:
    """Whether ``model_zoo.get_model`` takes a network with one output for a face-embedding one, by its image size.

    Parameters
    ----------
    size : (int, int)
        Height and width. Others than square ones from 112 in steps of 16 it does not open, and 192x192 is to it a
        network of landmarks.
    """
    height, width = size
    return height == width != 192 and height >= 112 and height % 16 == 0
