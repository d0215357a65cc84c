"""The rows of a benchmark: the runtimes that support a model, with their graphs and data types."""

from __future__ import annotations

import os
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..engines import ENGINES, FASTEST_FIRST, choices, engines_for, known_specs, onnx_engine
from ..engines.engine import is_checkpoint
from ..errors import InsightError

PLAIN = ("mxnet", "plain")  # evaluated by .plain; all other rows are evaluated by their engine

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
    """A model in one runtime, with one graph and one data type."""

    model: str  # specification as given by the user
    runtime: str
    graph: str  # plain or fast; empty for a file, which is evaluated unchanged
    dtype: str

    def __str__(self) -> str:
        """Title of the row, for example ``onnxruntime fast`` or ``openvino bfloat16``."""
        graph = self.graph if (self.runtime, "fast") in CHECKPOINT else ""
        return " ".join(filter(None, (self.runtime, graph, "" if self.dtype == "float32" else self.dtype)))


def rows(models: Sequence[str], runtimes: Optional[Sequence[str]] = None) -> List[Row]:
    """All rows of all models, in the order of the table.

    Parameters
    ----------
    models : sequence of str
        Checkpoints ``prefix,epoch``, or files that engines support.
    runtimes : sequence of str, optional
        Engines to measure; by default all.

    Raises
    ------
    InsightError
        A runtime is unknown, or a model is not supported by any engine, or not by any of ``runtimes``.
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
    """(runtime, graph) of each row of a model. The engine of a plugin is included if ``runtimes`` contains it."""
    plugins = [(name, "") for name in runtimes if ENGINES.is_plugin(name) and ENGINES.get(name).takes(model)]
    if is_checkpoint(model):
        return [*CHECKPOINT, *plugins]
    compatible = engines_for(model)
    names = [*FASTEST_FIRST[::-1], *(name for name in compatible if name not in FASTEST_FIRST)]
    return [*((name, "") for name in names if name in compatible and (name, "") not in plugins), *plugins]


def file_of(row: Row, folder: str) -> str:
    """The file that the runtime of a row opens: the model itself, or the path for its conversion by :func:`convert`."""
    suffix = SUFFIX.get(row.runtime)
    if suffix is None or not is_checkpoint(row.model):
        return row.model
    return os.path.join(folder, row.graph + suffix)


def convert(row: Row, path: str, image_size: Optional[Tuple[int, int]] = None) -> List[str]:
    """Convert a checkpoint to the file that the runtime of a row opens.

    Parameters
    ----------
    row : Row
    path : str
        From :func:`file_of`.
    image_size : (int, int), optional
        As in :func:`insight.engines.load`.

    Returns
    -------
    list of str
        Assumptions that were made; see ``notes`` of :class:`insight.engines.engine.Engine`. Empty for ONNX, whose
        engine reports them.

    Raises
    ------
    InsightError
        The checkpoint is missing or damaged, an operator cannot be converted, or ncnn's converter is not installed.
    """
    return CONVERT[SUFFIX[row.runtime]](row.model, row.graph, path, image_size)


def _onnx(spec: str, graph: str, path: str, image_size: Optional[Tuple[int, int]]) -> List[str]:
    content = onnx_engine.checkpoint_to_onnx(spec, graph, image_size)
    with open(path, "wb") as out:
        out.write(content)
    return []  # the notes are in the file, and the engine that opens it reports them


def _ncnn(spec: str, graph: str, path: str, image_size: Optional[Tuple[int, int]]) -> List[str]:
    from ..export.ncnn import export_ncnn

    return export_ncnn(spec, path, image_size=image_size).notes


# Suffix of the file that a runtime opens instead of a checkpoint, and the function that writes it.
SUFFIX = {"onnxruntime": ".onnx", "openvino": ".onnx", "ncnn": ".param"}
CONVERT: Dict[str, Callable[..., List[str]]] = {".onnx": _onnx, ".param": _ncnn}
