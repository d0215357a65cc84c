"""The source of an export: a checkpoint cut at its embedding, the same network in plain MXNet, and its provenance."""

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
        From the images, whose size the input variable states, to the embedding.
    network : MXNetEngine
        The same in plain MXNet, the reference of the parity gate.
    stages : list of lineage.Stage
        Its training stages; empty if not known.
    properties : dict of str to str
        Metadata: name and number of the checkpoint, and :func:`provenance`.
    size_known : bool
        False if the size of the images is assumed.
    notes : list of str
        What was assumed because the checkpoint does not state it.
    """

    model: GraphModel
    network: MXNetEngine
    stages: List[lineage.Stage]
    properties: Dict[str, str]
    size_known: bool
    notes: List[str]


def open_source(spec: str, layer: str = cut.EMBEDDING, image_size: Optional[Tuple[int, int]] = None) -> Source:
    """Open ``prefix,epoch``, a training checkpoint or a slimmed one.

    ``image_size`` is as in :func:`insight.engines.load`.

    Raises
    ------
    InsightError
        A file is missing or damaged, the graph has no such layer, or the size of its images is not known.
    """
    prefix, epoch = checkpoint.parse_spec(spec)
    saved = checkpoint.load(prefix, epoch)
    with naming(spec):
        opened = open_network(saved, image_size, layer)
    stages = lineage.stages(prefix, epoch)
    network = MXNetEngine(opened, spec, graph="plain")
    properties = {"source": f"{Path(prefix).name},{epoch}", **provenance(stages)}
    return Source(opened.model, network, stages, properties, opened.known, opened.notes)


@contextmanager
def naming(spec: str) -> Iterator[None]:
    """Prefix errors about a graph with the name of the model."""
    try:
        yield
    except InsightError as error:
        raise InsightError(f"{spec}: {error}") from None


def provenance(stages: Sequence[lineage.Stage]) -> Dict[str, str]:
    """Metadata that records the training of a network; empty if it is not known.

    ``data_set`` is the hash of the last stage's training set, ``network`` and ``loss`` are its options, and
    ``lineage`` contains all stages, for :func:`insight.runs.lineage.from_metadata`.
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
    """``arcface s=64 m=0.5`` from a stage's options; only the ``loss_type`` if no margin of this release fits them.

    Options that are not recorded had their defaults: the stage was trained by a release without them.
    """
    name = str(options.get("loss_type", ""))
    try:
        kind = margins.get(name)
        margin = kind(**{option.name: options[option.name] for option in kind.OPTIONS if option.name in options})
        margin.fit(int(options.get("emb_size", 0)))
        return margin.describe()
    except (InsightError, KeyError, TypeError, ValueError):
        return name
