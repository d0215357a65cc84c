"""Engines: a model specification is opened as a callable from images to embeddings. There is one file per runtime.

Each file registers an engine class under the name of the runtime. The class tells whether it supports a specification
(``takes``), describes the supported ones (``SPEC``), and opens one (``open``). A runtime that is not installed is an
error only if it is needed.
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
# Order of speed on a CPU, as measured by `insight benchmark`. The last engine that takes a specification is its native
# runtime.
FASTEST_FIRST = ("openvino", "onnxruntime", "mxnet")
# Images per batch. On a CPU, feature maps of larger batches do not fit in the caches; smaller ones underuse a GPU.
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
        Number of CPU threads; by default chosen by the engine. MXNet reads it only once, when it is imported.
    device : str or mxnet.Context, optional
        ``cpu`` (default), ``gpu`` or ``gpu(1)``.
    graph : str
        ``plain`` evaluates the unchanged graph of a checkpoint; ``fast`` the folded and split graph, which computes the
        same function. OpenVINO always gets the plain graph, because it folds layers itself. An exported file (ONNX) is
        always evaluated unchanged.
    batch_size : int, optional
        Maximum number of images per batch, which limits memory; by default 8 on a CPU and 64 on a GPU.
    option : str
        Name of the command-line option in error messages about ``spec``.
    engine : str, optional
        The runtime. By default the native one: MXNet for a checkpoint, ONNX Runtime for ONNX. With ``auto``, the first
        of OpenVINO, ONNX Runtime and MXNet that is installed and can evaluate the model; the first two get a checkpoint
        as ONNX, converted in memory. On a GPU, ``auto`` is the same as the default.
    dtype : str
        Data type of the computation: ``float32``, or ``bfloat16`` with ncnn or with OpenVINO on a CPU that supports it.
    image_size : (int, int), optional
        Height and width of the images, if the file does not state them. By default the size of a checkpoint's images is
        determined by :func:`insight.graph.shapes.settle`.

    Raises
    ------
    InsightError
        An option is out of range, the specification is of no known kind, a file is missing or damaged, the runtime is
        not installed, or the image size is unknown, does not fit the network or differs from the one in the file.
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
        except Unable:  # the next engine may be able to evaluate the network
            pass
    return loaders[-1].open(spec, settings)


def choices() -> List[str]:
    """Values of ``--engine``."""
    return [AUTO, *ENGINES]


def engines_for(spec: str, engine: Optional[str] = None) -> Dict[str, Type[Engine]]:
    """The engines that take a specification, by name, in the order in which ``auto`` tries them.

    An engine of an installed plugin is included only if ``engine`` names it, or if no built-in engine takes the
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
    """Engine classes in the order in which they are tried. If one raises :class:`Unable`, the next is tried."""
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
    """Parse ``None``, ``cpu``, ``gpu``, ``gpu:1``, ``gpu(1)`` or an mxnet.Context into (kind, number).

    The kind is ``cpu`` or ``gpu``. Raises InsightError for anything else.
    """
    match = re.fullmatch(r"(cpu|gpu)[:(]?(\d*)\)?", str(device or "cpu"))
    if match is None:
        raise InsightError(f"--device {device}: want cpu, gpu or gpu:NUMBER")
    return match.group(1), int(match.group(2) or 0)
