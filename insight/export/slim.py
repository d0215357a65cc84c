"""Checkpoint -> the checkpoint that ships: the embedding and nothing behind it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple, Optional

from .. import checkpoint
from ..checkpoint import Checkpoint
from ..engines.mxnet import MXNetEngine
from ..errors import InsightError
from ..graph import cut, fold
from ..graph.nodes import Model
from . import parity

EPOCH = 0  # of a slimmed checkpoint, as InsightFace's model_slim numbers it


class SlimResult(NamedTuple):
    """What was written: its prefix and epoch, bytes of both files before and after, agreement."""

    prefix: str
    epoch: int
    before: int
    after: int
    parity: parity.Parity


def slim(
    spec: str,
    output: Optional[str] = None,
    fold_bn: bool = False,
    layer: str = cut.EMBEDDING,
    overwrite: bool = False,
) -> SlimResult:
    """Cut a checkpoint at its embedding and write it under a new prefix, epoch 0.

    Parameters
    ----------
    spec : str
        ``prefix,epoch``.
    output : str, optional
        Prefix of what is written; the source's with an ``s`` behind it where missing.
    fold_bn : bool
        Fold batch norm into the layers beside it where that is exact, and drop Dropout.
    layer : str
        The layer whose output is the embedding; it is written as ``fc1``.
    overwrite : bool
        Replace files that are there. The source is never replaced.

    Raises
    ------
    InsightError
        A file is missing, damaged or in the way; the graph has no such layer.
    CheckFailed
        The folded network embeds unlike the source; nothing was written.
    """
    prefix, epoch = checkpoint.parse_spec(spec)
    output = output or f"{prefix}s"
    _refuse(prefix, output, overwrite)
    try:
        model = cut.cut(Model.from_mxnet(*checkpoint.load(prefix, epoch)), layer)
    except InsightError as error:
        raise InsightError(f"{spec}: {error}") from None
    source = MXNetEngine(Checkpoint(*model.to_mxnet()), spec, graph="plain")
    slimmed = Checkpoint(*(fold.fold(model) if fold_bn else model).to_mxnet())
    written = MXNetEngine(slimmed, output, graph="plain")
    faces = parity.random_faces(parity.COUNT, source.image_size)
    agreement = parity.gate(output, source, written, faces, parity.FLOAT32_BOUND)
    checkpoint.save(output, EPOCH, slimmed)
    return SlimResult(output, EPOCH, _bytes(prefix, epoch), _bytes(output, EPOCH), agreement)


def _refuse(prefix: str, output: str, overwrite: bool) -> None:
    source, target = checkpoint.symbol_path(prefix), checkpoint.symbol_path(output)
    if target.exists() and source.exists() and os.path.samefile(source, target):
        raise InsightError(f"--output {output}: is the source; its symbol would be lost. Give another prefix")
    for path in (target, checkpoint.params_path(output, EPOCH)):
        if Path(path).exists() and not overwrite:
            raise InsightError(f"{path}: is there already; give another --output, or --overwrite")


def _bytes(prefix: str, epoch: int) -> int:
    return checkpoint.symbol_path(prefix).stat().st_size + checkpoint.params_path(prefix, epoch).stat().st_size
