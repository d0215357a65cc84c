"""BATCH -> EMBEDDING: the networks, as Gluon hybrid blocks; a family per file.

Every network takes RGB, NCHW, float32 in 0..255 and returns raw embeddings (N, E);
``(x - 127.5) * 0.0078125`` is its first step. Parameter names, graph and numerics are
InsightFace's (deepinsight/insightface@4bc81321, @9fc3cc9c and @7fadd420; a family says which),
so that checkpoints move both ways by name.
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
    """The class behind a name: its ``OPTIONS``, ``fastest_prelu``, ``default_embedding_size``, not yet built.

    Parameters
    ----------
    name : str
        As registered (``y1``, ``r50``), or ``gluoncv:NAME`` for a classification backbone of gluoncv's.

    Raises
    ------
    InsightError
        No network has that name, or gluoncv is asked for and not installed.
    """
    if str(name).lower().startswith("gluoncv:"):
        from . import gluoncv

        return gluoncv.family(str(name)[len("gluoncv:") :])
    return networks.get(name)


def options(taken: Iterable[str] = ()) -> Tuple[Option, ...]:
    """What the families declare, for a command's flags; each default is None, the network's own.

    Parameters
    ----------
    taken : iterable of str
        As in :func:`insight.registry.declared_options`.
    """
    own = "; the network's own where missing"
    return tuple(
        option if option.default is False else dataclasses.replace(option, help=option.help + own)
        for option in declared_options(networks, taken=taken, defaults=False)
    )


def create(name: str, embedding_size: int = 0, **options) -> Network:
    """Build a network by its name.

    Parameters
    ----------
    name : str
        As :func:`family` takes it.
    embedding_size : int
        E; 0 takes the family's own (128 for y1, 256 for y2, else 512).
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
    """The network's plain graph, ending in ``fc1_output``: what is saved beside its parameters.

    Gluon writes shapes and learning-rate multipliers into the variables; they go, since
    line-based converters stumble over them and the graph says all that is needed. It does not say the size of the
    images: ``data`` states it, as ``__shape__`` (0, 3, height, width), where 0 leaves the batch open. MXNet reads
    that only where no shape of ``data`` is given, so that any batch, and any size, still binds.
    """
    from .._mxnet import mx

    with mx.name.NameManager():  # its own counters: _minusscalar0 and _plus0 whatever was traced before
        graph = json.loads(network.plain()(mx.sym.Variable("data")).tojson())
    for node in graph["nodes"]:
        if node["op"] == "null":
            node.pop("attrs", None)
        if node["name"] == "data":
            node["attrs"] = {"__shape__": str((0, 3, *network.image_size))}
    return mx.sym.load_json(json.dumps(graph))
