"""Model specification -> callable that turns images into embeddings; one runtime per file.

Each file registers an engine class under the runtime's name. The class checks whether it reads a specification
(``takes``), describes the ones it reads (``SPEC``), and opens one (``open``). A missing runtime is an error only if it
is needed.
"""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import Dict, List, Optional, Tuple, Type

from ..errors import InsightError
from ..registry import Registry
from .engine import Engine, Settings, Unable, is_checkpoint

ENGINES = Registry("engine", __name__, "insight.engines")
GRAPHS = ("fast", "plain")
DTYPES = ("float32", "bfloat16")
AUTO = "auto"
# On a CPU, measured by `insight benchmark`. The last one that takes a specification is its native runtime.
FASTEST_FIRST = ("openvino", "onnxruntime", "mxnet")
# Images per batch: feature maps of more do not fit in a CPU's caches, and fewer do not use all of a GPU.
BATCH = {"cpu": 8, "gpu": 64}


def load(
    spec: str,
    threads: Optional[int] = None,
    device=None,
    graph: str = "fast",
    batch_size: Optional[int] = None,
    option: str = "--model",
    engine: Optional[str] = None,
    dtype: str = "float32",
    image_size: Optional[Tuple[int, int]] = None,
) -> Engine:
    """Open a model.

    Parameters
    ----------
    spec : str
        ``prefix,epoch`` (MXNet checkpoint), ``model.onnx``, OpenVINO's ``model.xml`` or ncnn's ``model.param``.
    threads : int, optional
        CPU threads; by default the runtime's own choice. MXNet reads the number once per process, when it is imported.
    device : str or mxnet.Context, optional
        ``cpu`` (default), ``gpu`` or ``gpu(1)``.
    graph : str
        ``fast`` evaluates the folded and split graph, which computes the same; ``plain`` the unchanged graph.
        An exported file (ONNX) is evaluated unchanged in either case, and OpenVINO always gets the plain graph,
        because it folds by itself.
    batch_size : int, optional
        Maximum number of images per batch, which limits memory; by default 8 on a CPU and 64 on a GPU.
    option : str
        Name of the specification in messages.
    engine : str, optional
        The runtime. By default the native one: MXNet for a checkpoint, ONNX Runtime for ONNX. ``auto`` is the fastest
        installed one that reads the model: on a CPU OpenVINO, ONNX Runtime, MXNet in this order; the first two get a
        checkpoint as ONNX, converted in memory.
    dtype : str
        Type of the computation: ``float32``; or ``bfloat16``, with ncnn, or with OpenVINO on a CPU that supports it.
    image_size : (int, int), optional
        Height and width of the images, if the file does not state them. By default a checkpoint gets the size of
        :func:`insight.graph.shapes.settle`.

    Raises
    ------
    InsightError
        The specification is of no known kind, a file is missing or damaged, the runtime is not installed, or the
        image size is not known, does not fit the network or differs from the one that the file states.
    """
    if engine is not None and engine not in choices():
        raise InsightError(f"--engine {engine!r} is not known; known: {', '.join(choices())}")
    for what, value, known in (("graph", graph, GRAPHS), ("--dtype", dtype, DTYPES)):
        if value not in known:
            raise InsightError(f"{what} {value!r} is not known; known: {', '.join(known)}")
    for name, value in (("batch size", batch_size), ("threads", threads)):
        if value is not None and value < 1:
            raise InsightError(f"{name} {value}: must be at least 1")
    if image_size is not None and (len(image_size) != 2 or min(image_size) < 1):
        raise InsightError(f"--image-size {image_size}: want height and width in pixels, like 112,112")
    settings = Settings(threads, device, graph, batch_size, dtype, image_size)
    loaders = _loaders(str(spec), engine, dtype, parse_device(device)[0], option)
    opened = _open_first(loaders, str(spec), settings)
    path = os.path.abspath(spec) if all(file.exists() for file in model_files(str(spec))) else str(spec)
    opened.opened_by = partial(load, path, threads, device, graph, batch_size, option, engine, dtype, image_size)
    return opened


def _open_first(loaders: list, spec: str, settings: Settings) -> Engine:
    for loader in loaders[:-1]:
        try:
            return loader.open(spec, settings)
        except Unable:  # the next one may work
            pass
    return loaders[-1].open(spec, settings)


def choices() -> List[str]:
    """Values of ``--engine``."""
    return [AUTO, *ENGINES]


def engines_for(spec: str, engine: Optional[str] = None) -> Dict[str, Type[Engine]]:
    """The engines that take a specification, by name, in the order in which ``auto`` tries them.

    An engine of an installed package is included if it is named by ``engine``, or if none of ours takes the
    specification.

    Raises
    ------
    InsightError
        The named engine cannot be imported.
    """
    ours = [*FASTEST_FIRST, *(name for name in ENGINES if name not in FASTEST_FIRST and not ENGINES.is_plugin(name))]
    names = [*ours, engine] if engine and ENGINES.is_plugin(engine) else ours
    compatible = {name: ENGINES.get(name) for name in names if ENGINES.get(name).takes(spec)}
    return compatible or {name: loader for name, loader in ENGINES.components() if loader.takes(spec)}


def known_specs() -> str:
    """Descriptions of the specifications that the engines take, for messages."""
    return "; ".join(loader.SPEC for _, loader in ENGINES.components())


def model_files(spec: str) -> List[Path]:
    """The files that make up a model."""
    if not is_checkpoint(spec):
        path = Path(spec)
        return [path, path.with_suffix(".bin")] if path.suffix.lower() in (".xml", ".param") else [path]
    from .. import checkpoint

    prefix, epoch = checkpoint.parse_spec(spec)
    return [checkpoint.symbol_path(prefix), checkpoint.params_path(prefix, epoch)]


def _loaders(spec: str, engine: Optional[str], dtype: str, device: str, option: str) -> list:
    """Engine classes in the order in which to try them; all but the last may raise :class:`Unable`."""
    compatible = engines_for(spec, engine)
    if not compatible:
        raise InsightError(f"{option} {spec}: unknown kind of model; known: {known_specs()}")
    candidates = list(compatible)
    if engine not in (None, AUTO):
        if engine not in compatible:
            raise InsightError(f"--engine {engine}: does not take {option} {spec}; these do: {', '.join(compatible)}")
        candidates = [engine]
    capable = [name for name in candidates if dtype in compatible[name].DTYPES]
    if not capable:
        others = ", ".join(name for name in compatible if dtype in compatible[name].DTYPES)
        raise InsightError(f"--dtype {dtype}: {', '.join(candidates)} does not compute in it; these do: {others}")
    loaders = [compatible[name] for name in capable]
    if engine != AUTO or device != "cpu":  # the order by speed is for CPUs only
        return loaders[-1:]
    return [loader for loader in loaders if loader.installed()] or loaders[:1]


def parse_device(device) -> Tuple[str, int]:
    """Parse ``None``, ``gpu``, ``gpu:1``, ``gpu(1)`` or an mxnet.Context to (``cpu`` or ``gpu``, number)."""
    match = re.fullmatch(r"(cpu|gpu)[:(]?(\d*)\)?", str(device or "cpu"))
    if match is None:
        raise InsightError(f"--device {device}: want cpu, gpu or gpu:NUMBER")
    return match.group(1), int(match.group(2) or 0)
