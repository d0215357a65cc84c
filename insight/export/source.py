"""What an export starts from: a checkpoint cut at its embedding, in plain MXNet too, and where it comes from."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .. import checkpoint
from ..engines.mxnet import MXNetEngine
from ..errors import InsightError
from ..graph import cut
from ..graph.nodes import GraphModel
from ..graph.opening import open_network
from ..margins import margins
from ..runs import lineage


class Source(NamedTuple):
    """A checkpoint, opened.

    Attributes
    ----------
    model : GraphModel
        From the images, whose size its input states, to the embedding.
    network : MXNetEngine
        The same in plain MXNet, with which the parity gate compares.
    stages : list of lineage.Stage
        How it was trained; empty where that is not known.
    properties : dict of str to str
        Metadata: name and number of the checkpoint, and :func:`provenance`.
    size_known : bool
        Whether the size of the images is a fact; else it is assumed.
    notes : list of str
        What the checkpoint does not say and had to be assumed.
    """

    model: GraphModel
    network: MXNetEngine
    stages: List[lineage.Stage]
    properties: Dict[str, str]
    size_known: bool
    notes: List[str]


def open_source(spec: str, layer: str = cut.EMBEDDING, image_size: Optional[Tuple[int, int]] = None) -> Source:
    """Open ``prefix,epoch``, a training checkpoint or one that was cut already.

    ``image_size`` is as in :func:`insight.engines.load`.

    Raises
    ------
    InsightError
        A file is missing or damaged, the graph has no such layer, or the size of its images is not known.
    """
    prefix, epoch = checkpoint.parse_spec(spec)
    held = checkpoint.load(prefix, epoch)
    with naming(spec):
        opened = open_network(held, image_size, layer)
    stages = lineage.stages(prefix, epoch)
    network = MXNetEngine(opened, spec, graph="plain")
    properties = {"source": f"{Path(prefix).name},{epoch}", **provenance(stages)}
    return Source(opened.model, network, stages, properties, opened.known, opened.notes)


@contextmanager
def naming(spec: str) -> Iterator[None]:
    """Put the model in front of what is wrong with its graph."""
    try:
        yield
    except InsightError as error:
        raise InsightError(f"{spec}: {error}") from None


def provenance(stages: Sequence[lineage.Stage]) -> Dict[str, str]:
    """Metadata that says where a network comes from; nothing where that is not known.

    ``data_set`` is the hash of the last stage's training set, ``network`` and ``loss`` are its options, and
    ``lineage`` is all stages, for :func:`insight.runs.lineage.from_metadata`.
    """
    if not stages:
        return {}
    last = stages[-1]
    return {
        "data_set": last.set_fingerprint,
        "network": str(last.options.get("network", "")),
        "loss": loss(last.options),
        lineage.PROPERTY: lineage.to_json(stages),
    }


def loss(options: Mapping[str, Any]) -> str:
    """``arcface s=64 m=0.5`` of a stage's options; the bare ``loss_type`` if no margin of this release fits them."""
    name = str(options.get("loss_type", ""))
    try:
        kind = margins.get(name)
        return kind(**{option.name: options[option.name] for option in kind.OPTIONS}).describe()
    except (InsightError, KeyError, TypeError, ValueError):
        return name
