"""Checkpoint -> ONNX file (:mod:`insight.graph.onnx`), written only if ONNX Runtime embeds faces with it as MXNet
does.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from .. import checkpoint
from ..engines import GRAPHS
from ..engines.mxnet import MXNetEngine
from ..engines.onnxruntime import OnnxRuntimeEngine
from ..errors import InsightError
from ..formats import atomic
from ..graph import cut
from ..graph.nodes import Model
from ..graph.onnx import to_onnx
from . import parity


class OnnxExport(NamedTuple):
    """What was written: the file, its size in bytes, how well it agrees with MXNet."""

    path: Path
    size: int
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
        The .onnx file.
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
        A file is missing or damaged, an operator has no translation, or ONNX Runtime is not installed.
    CheckFailed
        The parity gate found a difference; nothing was written.
    """
    if graph not in GRAPHS:
        raise InsightError(f"--graph {graph}: want one of {', '.join(GRAPHS)}")
    path = Path(output)
    if path.exists() and not overwrite:
        raise InsightError(f"{path}: is there already; give another --output, or --overwrite")
    prefix, epoch = checkpoint.parse_spec(spec)
    held = checkpoint.load(prefix, epoch)
    plain = MXNetEngine(held, spec, graph="plain")
    try:
        model = to_onnx(cut.cut(Model.from_mxnet(*held)), graph, {"source": f"{Path(prefix).name},{epoch}"})
    except InsightError as error:
        raise InsightError(f"{spec}: {error}") from None
    with atomic.temporary_beside(path) as partial:
        partial.write_bytes(model.SerializeToString(deterministic=True))
        written = OnnxRuntimeEngine(str(partial))
        agreement = parity.gate(str(path), plain, written, faces(count, plain.image_size), bound)
    return OnnxExport(path, path.stat().st_size, agreement)
