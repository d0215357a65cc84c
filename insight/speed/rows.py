"""The rows of a model: runtimes that run it, with their graphs and data types."""

from __future__ import annotations

import os
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..engines import ENGINES, FASTEST_FIRST, choices, engines_for, known_specs, onnx_engine
from ..engines.engine import is_checkpoint
from ..errors import InsightError

PLAIN = ("mxnet", "plain")  # run by .plain; all others by their engine

# Rows of a checkpoint: (runtime, graph), in the order of the table.
CHECKPOINT = (
    PLAIN,
    ("mxnet", "fast"),
    ("onnxruntime", "plain"),
    ("onnxruntime", "fast"),
    ("openvino", "plain"),
    ("ncnn", "plain"),
)


class Row(NamedTuple):
    """A model in a runtime."""

    model: str  # the user's specification
    runtime: str
    graph: str  # plain or fast; empty for a file, which is run unchanged
    dtype: str

    def __str__(self) -> str:
        """``onnxruntime fast``, ``openvino bfloat16``."""
        graph = self.graph if (self.runtime, "fast") in CHECKPOINT else ""
        return " ".join(filter(None, (self.runtime, graph, "" if self.dtype == "float32" else self.dtype)))


def rows(models: Sequence[str], runtimes: Optional[Sequence[str]] = None) -> List[Row]:
    """All rows of all models, in the order of the table.

    Parameters
    ----------
    models : sequence of str
        ``prefix,epoch``, or a file that an engine takes.
    runtimes : sequence of str, optional
        Engines to measure; by default all.

    Raises
    ------
    InsightError
        A runtime is not known, or no engine takes a model, or none of ``runtimes`` does.
    """
    for name in runtimes or ():
        if name not in ENGINES:
            raise InsightError(f"--engine {name!r} is not known; known: {', '.join(choices())}")
    table = []
    for model in models:
        ways = _ways(model, runtimes or ())
        chosen = [way for way in ways if runtimes is None or way[0] in runtimes]
        if not chosen:
            takes = ", ".join(dict.fromkeys(runtime for runtime, _ in ways))
            reason = f"these run it: {takes}" if ways else f"unknown kind of model; known: {known_specs()}"
            raise InsightError(f"--model {model}: {reason}")
        table += [Row(model, *way, dtype) for way in chosen for dtype in ENGINES.get(way[0]).DTYPES]
    return table


def _ways(model: str, runtimes: Sequence[str]) -> list:
    """(runtime, graph) of each row; an engine of an installed package is included only if it is named."""
    plugins = [(name, "") for name in runtimes if ENGINES.is_plugin(name) and ENGINES.get(name).takes(model)]
    if is_checkpoint(model):
        return [*CHECKPOINT, *plugins]
    compatible = engines_for(model)
    names = [*FASTEST_FIRST[::-1], *(name for name in compatible if name not in FASTEST_FIRST)]
    return [*((name, "") for name in names if name in compatible and (name, "") not in plugins), *plugins]


def file_of(row: Row, folder: str) -> str:
    """The file that the row's runtime opens: the model itself, or the path of its conversion by :func:`convert`."""
    suffix = SUFFIX.get(row.runtime)
    if suffix is None or not is_checkpoint(row.model):
        return row.model
    return os.path.join(folder, row.graph + suffix)


def convert(row: Row, path: str, image_size: Optional[Tuple[int, int]] = None) -> List[str]:
    """Convert a checkpoint to the file that the row's runtime opens.

    Parameters
    ----------
    row : Row
    path : str
    image_size : (int, int), optional
        As in :func:`insight.engines.load`.

    Returns
    -------
    list of str
        Notes on what was assumed; see :class:`insight.engines.engine.Engine`.

    Raises
    ------
    InsightError
        The checkpoint is missing or damaged, an operator has no translation, or ncnn's converter is not installed.
    """
    return CONVERT[SUFFIX[row.runtime]](row.model, row.graph, path, image_size)


def _onnx(spec: str, graph: str, path: str, image_size: Optional[Tuple[int, int]]) -> List[str]:
    content = onnx_engine.checkpoint_to_onnx(spec, graph, image_size)
    with open(path, "wb") as out:
        out.write(content)
    return []  # the file contains the notes, and the engine that opens it reports them


def _ncnn(spec: str, graph: str, path: str, image_size: Optional[Tuple[int, int]]) -> List[str]:
    from ..export.ncnn import export_ncnn

    return export_ncnn(spec, path, image_size=image_size).notes


# Suffix of the file that a runtime opens instead of a checkpoint, and the function that writes it.
SUFFIX = {"onnxruntime": ".onnx", "openvino": ".onnx", "ncnn": ".param"}
CONVERT: Dict[str, Callable[..., List[str]]] = {".onnx": _onnx, ".param": _ncnn}
