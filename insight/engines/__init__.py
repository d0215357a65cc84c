"""Model specification -> callable that turns images into embeddings; one runtime per file.

A runtime's file registers a loader class under the runtime's name. The class says which specifications
are its own (``takes``), how they look (``SPEC``), and opens one. A missing runtime is an error only when
a specification asks for it.
"""

from __future__ import annotations

import re
from typing import Optional, Tuple

from ..errors import InsightError
from ..registry import Registry
from .engine import Engine

ENGINES = Registry("engine", __name__)
GRAPHS = ("fast", "plain")
# Images at once: the feature maps of more do not stay in a CPU's caches, and a GPU is not filled by fewer.
BATCH = {"cpu": 8, "gpu": 64}


def load(
    spec: str,
    threads: Optional[int] = None,
    device=None,
    graph: str = "fast",
    batch_size: Optional[int] = None,
    option: str = "--model",
) -> Engine:
    """Open a model in the runtime that its specification calls for.

    Parameters
    ----------
    spec : str
        ``prefix,epoch`` (MXNet checkpoint) or ``model.onnx``.
    threads : int, optional
        CPU threads; the runtime's own choice where missing. MXNet takes the number when a process first uses it,
        and keeps it.
    device : str or mxnet.Context, optional
        ``cpu`` (default), ``gpu`` or ``gpu(1)``.
    graph : str
        ``fast`` evaluates the folded and split graph, which computes the same; ``plain`` the graph as it is.
        A file that is a finished product (ONNX) is evaluated as it is in either case.
    batch_size : int, optional
        Most images that the network sees at once, which bounds memory; 8 on a CPU and 64 on a GPU where missing.
    option : str
        What to call the specification in messages.

    Raises
    ------
    InsightError
        The specification is of no known kind, a file is missing or damaged, or the runtime is not installed.
    """
    if graph not in GRAPHS:
        raise InsightError(f"graph {graph!r} is not known; known: {', '.join(GRAPHS)}")
    for name, value in (("batch size", batch_size), ("threads", threads)):
        if value is not None and value < 1:
            raise InsightError(f"{name} {value}: must be at least 1")
    loaders = [ENGINES.get(name) for name in ENGINES]
    for loader in loaders:
        if loader.takes(str(spec)):
            return loader.open(str(spec), threads, device, graph, batch_size)
    known = "; ".join(loader.SPEC for loader in loaders)
    raise InsightError(f"{option} {spec}: no kind of model that is known; known: {known}")


def parse_device(device) -> Tuple[str, int]:
    """(``cpu`` or ``gpu``, number) of ``None``, ``gpu``, ``gpu:1``, ``gpu(1)`` or an mxnet.Context."""
    match = re.fullmatch(r"(cpu|gpu)[:(]?(\d*)\)?", str(device or "cpu"))
    if match is None:
        raise InsightError(f"device {device}: want cpu, gpu or gpu:NUMBER")
    return match.group(1), int(match.group(2) or 0)
