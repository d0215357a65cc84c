"""Checkpoint -> ONNX (:mod:`insight.graph.onnx_model`) or OpenVINO file, written only if its runtime's embeddings of
faces agree with MXNet's.
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
    """Result of an export: the file, its size in bytes, its image size (H, W), number of training stages in the
    lineage, agreement with MXNet; and notes on what was assumed about the checkpoint.
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
        The images of the parity gate, their number, and the lowest cosine to accept.
    overwrite : bool
        Replace existing files.
    image_size : (int, int), optional
        Height and width of the images, if the checkpoint does not state them. The file takes no others.

    Raises
    ------
    InsightError
        A file is missing or damaged or already exists, an operator has no translation, the size of the images is not
        known, or the runtime is not installed.
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
    return OnnxExport(paths[0], size(paths), source.network.image_size, len(source.stages), agreement, source.notes)
