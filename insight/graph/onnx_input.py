"""Whether an ONNX network takes raw pixels or normalised ones, by the rule of pip insightface's ArcFaceONNX.

Needs no MXNet: engines of finished files read this.
"""

from __future__ import annotations

from typing import Iterable

LOOK_AT = 8  # nodes at the start among which a normalisation is looked for


def normalises(nodes: Iterable) -> bool:
    """Whether a subtraction and a multiplication stand among the first nodes, by operator or by name.

    Parameters
    ----------
    nodes : iterable of onnx.NodeProto
        Of the graph, from its start.
    """
    first = list(nodes)[:LOOK_AT]
    subtracts = any(node.op_type == "Sub" or node.name.startswith(("Sub", "_minus")) for node in first)
    multiplies = any(node.op_type == "Mul" or node.name.startswith(("Mul", "_mul")) for node in first)
    return subtracts and multiplies
