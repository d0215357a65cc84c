"""Checkpoint -> ONNX (:mod:`insight.graph.onnx`) or OpenVINO file, written only if its runtime embeds faces with it
as MXNet does.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Dict, Mapping, NamedTuple, Sequence, Tuple

from .. import checkpoint
from ..engines import GRAPHS
from ..engines.mxnet import MXNetEngine
from ..errors import InsightError
from ..formats import lineage
from ..graph import cut
from ..graph.nodes import Model
from ..graph.onnx import to_onnx
from ..heads import heads
from ..heads.margin import MarginOptions, flag
from . import parity
from .written import files, size, written


class OnnxExport(NamedTuple):
    """What was written: the file, its size in bytes, its image size, stages of its lineage, agreement with MXNet."""

    path: Path
    size: int
    image_size: Tuple[int, int]
    stages: int
    parity: parity.Parity


def export_onnx(
    spec: str,
    output: str,
    graph: str = "plain",
    faces: parity.Faces = parity.random_faces,
    count: int = parity.COUNT,
    bound: float = parity.FLOAT32_BOUND,
    overwrite: bool = False,
) -> OnnxExport:
    """Write a checkpoint as ONNX.

    Parameters
    ----------
    spec : str
        ``prefix,epoch``; a training graph is cut at ``fc1_output``.
    output : str
        The .onnx file; or OpenVINO's .xml, with its .bin beside it.
    graph : str
        ``plain``, the graph as it was trained; or ``fast``, which computes the same with batch norm folded and
        PReLU split (:mod:`insight.graph.split`).
    faces, count, bound
        The images of the parity gate, how many, and the least cosine.
    overwrite : bool
        Replace a file that is there.

    Raises
    ------
    InsightError
        A file is missing or damaged, an operator has no translation, or the runtime is not installed.
    CheckFailed
        The parity gate found a difference; nothing was written.
    """
    if graph not in GRAPHS:
        raise InsightError(f"--graph {graph}: want one of {', '.join(GRAPHS)}")
    paths = files(output, overwrite)
    prefix, epoch = checkpoint.parse_spec(spec)
    held = checkpoint.load(prefix, epoch)
    stages = lineage.stages(prefix, epoch)
    plain = MXNetEngine(held, spec, graph="plain")
    properties = {"source": f"{Path(prefix).name},{epoch}", **provenance(stages)}
    try:
        model = to_onnx(cut.cut(Model.from_mxnet(*held)), graph, properties)
    except InsightError as error:
        raise InsightError(f"{spec}: {error}") from None
    images = parity.take(faces, count, plain.image_size)
    with written(paths, model) as engine:
        agreement = parity.gate(str(paths[0]), plain, engine, images, bound)
    return OnnxExport(paths[0], size(paths), plain.image_size, len(stages), agreement)


def provenance(stages: Sequence[lineage.Stage]) -> Dict[str, str]:
    """Metadata that says where a network comes from; nothing where that is not known.

    ``data_set`` is the hash of the last stage's training set, ``network`` and ``loss`` are its options, and
    ``lineage`` is all stages, for :func:`insight.formats.lineage.from_metadata`.
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
    """``arcface s=64 m=0.5`` of a stage's options; the bare ``loss_type`` where a head of this release does not fit."""
    kind = str(options.get("loss_type", ""))
    names = {field.name: flag(field.name)[2:].replace("-", "_") for field in dataclasses.fields(MarginOptions)}
    try:
        values = {name: options[key] for name, key in names.items()}
        margin = MarginOptions(**{**values, "easy_margin": bool(values["easy_margin"])})
        return heads.get(kind)(margin).describe()
    except (InsightError, KeyError, TypeError, ValueError):
        return kind
