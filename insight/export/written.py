"""A network's ONNX as the file that was asked for, .onnx or OpenVINO's .xml and .bin, kept only if it passes."""

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
    """The files that an output stands for; the first is the one that names it.

    Raises
    ------
    InsightError
        Its suffix is not known, one of them is there and may not be replaced, or its .bin is that of ncnn's .param.
    """
    if Path(output).suffix.lower() not in SUFFIXES:
        raise InsightError(
            f"--output {output}: must end in .onnx, or in .xml for OpenVINO, by which embed and others know it"
        )
    paths = model_files(output)
    if len(paths) > 1:
        refuse_weights_of(paths[0].with_suffix(".param"))
    for path in paths:
        if path.exists() and not overwrite:
            raise InsightError(f"{path}: is there already; give another --output, or --overwrite")
    return paths


def refuse_weights_of(other: Path) -> None:
    """Raise if another runtime's file stands beside an output: the .bin of its name is taken, --overwrite or not."""
    if other.exists():
        raise InsightError(f"{other.with_suffix('.bin')}: holds the weights of {other.name}; give another --output")


@contextmanager
def written(paths: List[Path], model: ModelProto, overwrite: bool) -> Iterator[OnnxEngine]:
    """Write the files under hidden names, and yield them loaded in their runtime; they appear if nothing is raised.

    Parameters
    ----------
    paths : list of Path
        From :func:`files`.
    model : onnx.ModelProto
        Written to OpenVINO's format with its weights as they are: float32 is not cut to float16.
    overwrite : bool
        Whether files that another run has written meanwhile may be replaced.
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
        made = Path(temporary, "network.xml")
        openvino.save(content, made)
        yield OpenVINOEngine(str(made))
        names = [part.name for part in reversed(paths)]  # the .xml last: it is the one that is opened
        with commit_together(path.parent, names, overwrite) as staging:
            for source, part in zip(model_files(str(made)), paths):
                shutil.copyfile(source, staging.path(part.name))


def size(paths: List[Path]) -> int:
    """Bytes of all files together."""
    return sum(os.path.getsize(path) for path in paths)
