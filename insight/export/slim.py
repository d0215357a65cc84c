"""Checkpoint -> checkpoint for deployment: the layers up to the embedding, with its lineage beside it."""

from __future__ import annotations

import os
from typing import List, NamedTuple, Optional, Tuple

from .. import checkpoint
from ..checkpoint import Checkpoint
from ..engines.mxnet import MXNetEngine
from ..errors import InsightError
from ..files.commit import commit_together, refuse_existing
from ..graph import cut, fold, shapes
from ..runs import lineage
from . import parity
from .source import open_source

EPOCH = 0  # epoch number of a slimmed checkpoint, as in InsightFace's model_slim


class SlimResult(NamedTuple):
    """Result: prefix and epoch, size of symbol and params in bytes before and after, number of training stages in the
    lineage, agreement with the source; and notes on what was assumed about the source.
    """

    prefix: str
    epoch: int
    before: int
    after: int
    stages: int
    parity: parity.Parity
    notes: List[str]


def slim(
    spec: str,
    output: Optional[str] = None,
    fold_bn: bool = False,
    layer: str = cut.EMBEDDING,
    faces: parity.Faces = parity.random_faces,
    count: int = parity.COUNT,
    bound: float = parity.FLOAT32_BOUND,
    overwrite: bool = False,
    image_size: Optional[Tuple[int, int]] = None,
) -> SlimResult:
    """Cut a checkpoint at its embedding and write it under a new prefix, epoch 0.

    If it is known how the checkpoint was trained, ``PREFIX-lineage.json`` is written too. The symbol states the size of
    the images if it is known; an assumed size is not written.

    Parameters
    ----------
    spec : str
        ``prefix,epoch``.
    output : str, optional
        Prefix of the result; by default the source's with an ``s`` appended.
    fold_bn : bool
        Fold batch norm into neighbouring layers where that is exact, and drop Dropout.
    layer : str
        The layer whose output is the embedding; it is written as ``fc1``.
    faces, count, bound
        The images of the parity gate, their number, and the lowest cosine to accept.
    overwrite : bool
        Replace existing files. The source is never replaced.
    image_size : (int, int), optional
        Height and width of the images, if the checkpoint does not state them.

    Raises
    ------
    InsightError
        A file is missing or damaged or already exists; the graph has no such layer; the size of the images is not
        known.
    CheckFailed
        The embeddings of the result differ from those of the source; nothing was written.
    """
    prefix, epoch = checkpoint.parse_spec(spec)
    output = output or f"{prefix}s"
    if not os.path.basename(output):
        raise InsightError(f"--output {output}: is a folder; want a prefix, for example {output}model")
    symbol, params, origin = checkpoint.symbol_path(output), checkpoint.params_path(output, EPOCH), lineage.path(output)
    _refuse_source(prefix, epoch, output)
    if not overwrite:
        refuse_existing(symbol.parent, [symbol.name, params.name, origin.name])
    source = open_source(spec, layer, image_size)
    size = source.network.image_size
    images = parity.take(faces, count, size)
    with commit_together(symbol.parent, [params.name, symbol.name], overwrite) as staging:
        written = staging.path(symbol.name), staging.path(params.name)
        model = fold.fold(source.model) if fold_bn else source.model.copy()
        shapes.state_size(model, size if source.size_known else None)
        checkpoint.write(*written, Checkpoint(*model.to_mxnet()))
        lineage.add(staging, output, source.stages, EPOCH)
        shipped = MXNetEngine(checkpoint.read(*written), output, graph="plain", image_size=size)
        agreement = parity.gate(output, source.network, shipped, images, bound)
    sizes = _bytes(prefix, epoch), _bytes(output, EPOCH)
    return SlimResult(output, EPOCH, *sizes, len(source.stages), agreement, source.notes)


def _refuse_source(prefix: str, epoch: int, output: str) -> None:
    pairs = (
        (checkpoint.symbol_path(prefix), checkpoint.symbol_path(output)),
        (checkpoint.params_path(prefix, epoch), checkpoint.params_path(output, EPOCH)),
    )
    for source, target in pairs:
        if source.exists() and target.exists() and os.path.samefile(source, target):
            raise InsightError(f"--output {output}: is the source; {target.name} would be lost. Give another prefix")


def _bytes(prefix: str, epoch: int) -> int:
    return checkpoint.symbol_path(prefix).stat().st_size + checkpoint.params_path(prefix, epoch).stat().st_size
