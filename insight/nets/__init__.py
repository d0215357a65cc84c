"""BATCH -> EMBEDDING: the networks, as Gluon hybrid blocks; a family per file.

Every network takes RGB, NCHW, float32 in 0..255 and returns raw embeddings (N, E);
``(x - 127.5) * 0.0078125`` is its first step. Parameter names, graph and numerics are
InsightFace's (deepinsight/insightface@4bc81321), so that checkpoints move both ways by name.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..registry import Registry

if TYPE_CHECKING:
    from .layers import Network

networks = Registry("network", __name__)


def create(name: str, embedding_size: int = 0, **options) -> Network:
    """Build a network by its registered name.

    Parameters
    ----------
    name : str
        For example ``y1``.
    embedding_size : int
        E; 0 takes the family's own (128 for MobileFaceNet).
    **options
        What the family's constructor takes, such as ``batchnorm_momentum``.
    """
    family = networks.get(name)
    return family(embedding_size=embedding_size or family.default_embedding_size, **options)


def symbol(network: Network):
    """The network's plain graph, ending in ``fc1_output``: what is saved beside its parameters.

    Gluon writes shapes and learning-rate multipliers into the variables; they go, since
    line-based converters stumble over them and the graph says all that is needed.
    """
    from .._mxnet import mx

    with mx.name.NameManager():  # its own counters: _minusscalar0 and _plus0 whatever was traced before
        graph = json.loads(network.plain()(mx.sym.Variable("data")).tojson())
    for node in graph["nodes"]:
        if node["op"] == "null":
            node.pop("attrs", None)
    return mx.sym.load_json(json.dumps(graph))
