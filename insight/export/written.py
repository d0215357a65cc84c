"""Write a network's ONNX as .onnx or as OpenVINO's .xml and .bin; the files are kept only if no error is raised."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Iterator, List

from onnx import ModelProto

from ..engines import model_files, openvino
from ..engines.onnx_engine import OnnxEngine
from ..engines.onnxruntime import OnnxRuntimeEngine
from ..engines.openvino import OpenVINOEngine
from ..errors import InsightError
from ..files import atomic
from ..files.commit import commit_together, refuse_existing

SUFFIXES = (".onnx", ".xml")


def files(output: str, overwrite: bool) -> List[Path]:
    """The files of an output; the first is ``output`` itself.

    Raises
    ------
    InsightError
        The suffix is not known, a file already exists and ``overwrite`` is not set, or its .bin belongs to ncnn's
        .param.
    """
    if Path(output).suffix.lower() not in SUFFIXES:
        raise InsightError(f"--output {output}: must end in .onnx, or in .xml for OpenVINO; embed goes by the suffix")
    paths = model_files(output)
    if len(paths) > 1:
        refuse_weights_of(paths[0].with_suffix(".param"))
    for path in paths:
        if path.exists() and not overwrite:
            raise InsightError(f"{path}: already exists; give another --output, or --overwrite")
    return paths


def refuse_weights_of(other: Path) -> None:
    """Raise if another runtime's file of this name exists: the .bin belongs to it, with or without --overwrite."""
    if other.exists():
        raise InsightError(f"{other.with_suffix('.bin')}: contains the weights of {other.name}; give another --output")


@contextmanager
def written(paths: List[Path], model: ModelProto, overwrite: bool) -> Iterator[OnnxEngine]:
    """Write the files under hidden names, yield the loaded engine, and rename them if the block raises nothing.

    Parameters
    ----------
    paths : list of Path
        From :func:`files`.
    model : onnx.ModelProto
        Written to OpenVINO's format with unchanged weights: float32 is not reduced to float16.
    overwrite : bool
        Whether to replace files that another run has written in the meantime.
    """
    path = paths[0]
    content = model.SerializeToString(deterministic=True)
    if len(paths) == 1:
        with atomic.temporary_beside(path) as partial:
            partial.write_bytes(content)
            yield OnnxRuntimeEngine(str(partial))
            if not overwrite:
                refuse_existing(path.parent, [path.name])
        return
    with TemporaryDirectory(prefix="insight-openvino-") as temporary:
        converted = Path(temporary, "network.xml")
        openvino.save(content, converted)
        yield OpenVINOEngine(str(converted))
        names = [part.name for part in reversed(paths)]  # the .xml last, because it is the file that is opened
        with commit_together(path.parent, names, overwrite) as staging:
            for source, part in zip(model_files(str(converted)), paths):
                shutil.copyfile(source, staging.path(part.name))


def size(paths: List[Path]) -> int:
    """Total size of the files in bytes."""
    return sum(os.path.getsize(path) for path in paths)
