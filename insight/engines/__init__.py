"""Model specification -> callable that turns images into embeddings; one runtime per file.

A runtime's file registers a loader class under the runtime's name. The class says which specifications
it takes (``takes``), how they look (``SPEC``), and opens one. A missing runtime is an error only when
it is asked for.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, List, Optional, Tuple, Type

from ..errors import InsightError
from ..registry import Registry
from .engine import Engine, Settings, Unable, is_checkpoint

ENGINES = Registry("engine", __name__, "insight.engines")
GRAPHS = ("fast", "plain")
DTYPES = ("float32", "bfloat16")
AUTO = "auto"
# On a CPU, by `insight benchmark`. The last that takes a specification is the one that it was made for.
FASTEST_FIRST = ("openvino", "onnxruntime", "mxnet")
# Images at once: the feature maps of more do not stay in a CPU's caches, and a GPU is not filled by fewer.
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
        CPU threads; the runtime's own choice where missing. MXNet takes the number when a process first uses it,
        and keeps it.
    device : str or mxnet.Context, optional
        ``cpu`` (default), ``gpu`` or ``gpu(1)``.
    graph : str
        ``fast`` evaluates the folded and split graph, which computes the same; ``plain`` the graph as it is.
        A file that is a finished product (ONNX) is evaluated as it is in either case, and OpenVINO always gets the
        plain graph, since it folds by itself.
    batch_size : int, optional
        Most images that the network sees at once, which bounds memory; 8 on a CPU and 64 on a GPU where missing.
    option : str
        What to call the specification in messages.
    engine : str, optional
        The runtime. Where missing, the one that the specification was made for: MXNet for a checkpoint, ONNX Runtime
        for ONNX. ``auto`` is the fastest that is installed and takes the model: on a CPU OpenVINO, ONNX Runtime, MXNet
        in this order, to which a checkpoint is handed as ONNX, in memory.
    dtype : str
        What the network computes in: ``float32``; or ``bfloat16``, with OpenVINO on a CPU that has it, or ncnn.
    image_size : (int, int), optional
        Height and width that the network takes, where its file does not state them. Where missing, a checkpoint gets
        the size that :func:`insight.graph.shapes.settle` finds.

    Raises
    ------
    InsightError
        The specification is of no known kind, a file is missing or damaged, the runtime is not installed, or the
        size of images is not known, does not fit the network or is not the one that its file states.
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
        raise InsightError(f"--image-size {image_size}: want height and width in pixels, as 112,112")
    settings = Settings(threads, device, graph, batch_size, dtype, image_size)
    loaders = _loaders(str(spec), engine, dtype, parse_device(device)[0], option)
    for loader in loaders[:-1]:
        try:
            return loader.open(str(spec), settings)
        except Unable:  # the next one may be able
            pass
    return loaders[-1].open(str(spec), settings)


def choices() -> List[str]:
    """What ``--engine`` takes."""
    return [AUTO, *ENGINES]


def engines_for(spec: str, engine: Optional[str] = None) -> Dict[str, Type[Engine]]:
    """The engines that take a specification, by name, in the order in which ``auto`` tries them.

    An engine of an installed package is one of them where it is asked for, or where none of ours takes it.

    Raises
    ------
    InsightError
        The engine that is asked for cannot be imported.
    """
    ours = [*FASTEST_FIRST, *(name for name in ENGINES if name not in FASTEST_FIRST and not ENGINES.is_plugin(name))]
    names = [*ours, engine] if engine and ENGINES.is_plugin(engine) else ours
    taking = {name: ENGINES.get(name) for name in names if ENGINES.get(name).takes(spec)}
    return taking or {name: loader for name, loader in ENGINES.components() if loader.takes(spec)}


def known_specs() -> str:
    """The kinds of model that the engines take, for messages."""
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
    """Loader classes in the order in which to try them; all but the last may be :class:`Unable`."""
    able_to_take = engines_for(spec, engine)
    if not able_to_take:
        raise InsightError(f"{option} {spec}: no kind of model that is known; known: {known_specs()}")
    taking = fit = list(able_to_take)
    if engine not in (None, AUTO):
        if engine not in taking:
            raise InsightError(f"--engine {engine}: does not take {option} {spec}; these do: {', '.join(taking)}")
        taking = [engine]
    able = [name for name in taking if dtype in able_to_take[name].DTYPES]
    if not able:
        others = ", ".join(name for name in fit if dtype in able_to_take[name].DTYPES)
        raise InsightError(f"--dtype {dtype}: {', '.join(taking)} does not compute in it; these do: {others}")
    loaders = [able_to_take[name] for name in able]
    if engine != AUTO or device != "cpu":  # the order is that of CPUs
        return loaders[-1:]
    return [loader for loader in loaders if loader.installed()] or loaders[:1]


def parse_device(device) -> Tuple[str, int]:
    """(``cpu`` or ``gpu``, number) of ``None``, ``gpu``, ``gpu:1``, ``gpu(1)`` or an mxnet.Context."""
    match = re.fullmatch(r"(cpu|gpu)[:(]?(\d*)\)?", str(device or "cpu"))
    if match is None:
        raise InsightError(f"device {device}: want cpu, gpu or gpu:NUMBER")
    return match.group(1), int(match.group(2) or 0)
