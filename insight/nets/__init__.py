"""BATCH -> EMBEDDING: the networks, as Gluon hybrid blocks; a family per file.

All networks take RGB, NCHW, float32 in 0..255 and return raw embeddings (N, E);
``(x - 127.5) * 0.0078125`` is their first step. Parameter names, graph and numerics are
InsightFace's (deepinsight/insightface@4bc81321, @9fc3cc9c or @7fadd420, as the family states),
so that checkpoints can be exchanged in both directions by name.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Iterable, Tuple, Type

from ..options import Option
from ..registry import Registry, declared_options

if TYPE_CHECKING:
    from .network import Network

networks = Registry("network", __name__, "insight.networks")


def family(name: str) -> Type[Network]:
    """The class of a network, not instantiated, with its ``OPTIONS``, ``fastest_prelu``, ``default_embedding_size``.

    Parameters
    ----------
    name : str
        As registered (``y1``, ``r50``), or ``gluoncv:NAME`` for a classification backbone from gluoncv.

    Raises
    ------
    InsightError
        No network has that name, or gluoncv is needed and not installed.
    """
    if str(name).lower().startswith("gluoncv:"):
        from . import gluoncv

        return gluoncv.family(str(name)[len("gluoncv:") :])
    return networks.get(name)


def options(taken: Iterable[str] = ()) -> Tuple[Option, ...]:
    """Options that the families declare, for a command's flags; each default is None, the network's own.

    Parameters
    ----------
    taken : iterable of str
        As in :func:`insight.registry.declared_options`.
    """
    own = "; by default the network's own"
    return tuple(
        option if option.default is False else dataclasses.replace(option, help=option.help + own)
        for option in declared_options(networks, taken=taken, defaults=False)
    )


def create(name: str, embedding_size: int = 0, **options) -> Network:
    """Build a network by its name.

    Parameters
    ----------
    name : str
        As for :func:`family`.
    embedding_size : int
        E; 0 is the family's default (128 for y1, 256 for y2, else 512).
    **options
        ``prelu``, ``image_size``, ``batchnorm_momentum``, and the family's ``OPTIONS``: see
        :class:`insight.nets.network.Network`.

    Raises
    ------
    InsightError
        The name, an option or a value is unknown; the message lists the known ones.
    """
    return family(name)(embedding_size, **options)


def symbol(network: Network):
    """The network's plain graph, which ends in ``fc1_output`` and is saved beside its parameters.

    Gluon writes shapes and learning-rate multipliers into the variables; they are removed, because they break
    line-based converters and the graph does not need them. The size of the images is stated in ``data`` as
    ``__shape__`` (0, 3, height, width), where 0 leaves the batch size open. MXNet reads it only if no shape of ``data``
    is given, so any batch and any size can still be bound.
    """
    from .._mxnet import mx

    with mx.name.NameManager():  # new counters: always _minusscalar0 and _plus0, regardless of earlier traces
        graph = json.loads(network.plain()(mx.sym.Variable("data")).tojson())
    for node in graph["nodes"]:
        if node["op"] == "null":
            node.pop("attrs", None)
        if node["name"] == "data":
            node["attrs"] = {"__shape__": str((0, 3, *network.image_size))}
    return mx.sym.load_json(json.dumps(graph))
