"""Checkpoint -> ONNX (:mod:`insight.graph.onnx_model`) or OpenVINO file, written only if its runtime embeds faces with
it as MXNet does.
"""

from __future__ import annotations

from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

from ..engines import GRAPHS
from ..errors import InsightError
from ..graph.onnx_model import to_onnx
from . import parity
from .source import naming, open_source
from .written import files, size, written


class OnnxExport(NamedTuple):
    """What was written: the file, its size in bytes, its image size, stages of its lineage, agreement with MXNet; and
    what had to be assumed about the checkpoint.
    """

    path: Path
    size: int
    image_size: Tuple[int, int]
    stages: int
    parity: parity.Parity
    notes: List[str]


def export_onnx(
    spec: str,
    output: str,
    graph: str = "plain",
    faces: parity.Faces = parity.random_faces,
    count: int = parity.COUNT,
    bound: float = parity.FLOAT32_BOUND,
    overwrite: bool = False,
    image_size: Optional[Tuple[int, int]] = None,
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
    image_size : (int, int), optional
        Height and width that the network takes, where the checkpoint does not state them. The file takes no others.

    Raises
    ------
    InsightError
        A file is missing or damaged, an operator has no translation, the size of the images is not known, or the
        runtime is not installed.
    CheckFailed
        The parity gate found a difference; nothing was written.
    """
    if graph not in GRAPHS:
        raise InsightError(f"--graph {graph}: want one of {', '.join(GRAPHS)}")
    paths = files(output, overwrite)
    source = open_source(spec, image_size=image_size)
    with naming(spec):
        model = to_onnx(source.model, graph, source.properties)
    images = parity.take(faces, count, source.network.image_size)
    with written(paths, model, overwrite) as engine:
        agreement = parity.gate(str(paths[0]), source.network, engine, images, bound)
    found = source.network.image_size
    return OnnxExport(paths[0], size(paths), found, len(source.stages), agreement, source.notes)
