"""Checkpoint -> ncnn's ``.param`` and ``.bin``, through ONNX and pnnx, kept only if ncnn's embeddings of faces agree
with MXNet's.

pnnx gets the plain graph: it folds batch norm itself, and ncnn's PReLU is cheap, so the additional convolutions of the
fast graph would only cost time.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

from onnx import ModelProto

from ..engines.ncnn import NcnnEngine, normalises
from ..errors import InsightError
from ..files.commit import commit_together, refuse_existing
from ..formats import ncnnparam
from ..formats.ncnnparam import NcnnLayer
from ..graph import cut
from ..graph.onnx_model import to_onnx
from ..runs import lineage
from . import parity
from .source import naming, open_source
from .written import refuse_weights_of

BOUNDS = {"float32": parity.FLOAT32_BOUND, "float16": 0.999}  # lowest cosine, by the type of the weights
REMEDY = "run: pip install --no-deps pnnx"
BY_BATCH = re.compile(r'"1,1,//\((\d+),0n\),0n"')
COMPLAINT = re.compile(r"not supported|^ignore ")


class NcnnExport(NamedTuple):
    """Result of an export: both files, their total size in bytes, image size (H, W), E, number of training stages in
    the lineage, agreement with MXNet; and notes on what was assumed about the checkpoint.
    """

    param: Path
    weights: Path
    size: int
    image_size: tuple
    dimension: int
    stages: int
    parity: parity.Parity
    notes: List[str]


def export_ncnn(
    spec: str,
    output: str,
    dtype: str = "float32",
    faces: parity.Faces = parity.random_faces,
    count: int = parity.COUNT,
    bound: Optional[float] = None,
    overwrite: bool = False,
    image_size: Optional[Tuple[int, int]] = None,
) -> NcnnExport:
    """Write a checkpoint for ncnn: input blob ``data``, RGB 0..255, output blob ``fc1``.

    Parameters
    ----------
    spec : str
        ``prefix,epoch``; a training graph is cut at ``fc1_output``.
    output : str
        Prefix of PREFIX.param and PREFIX.bin. Both are written, or neither.
    dtype : str
        Storage type for the weights of convolutions and of the fully connected layer, ``float32`` or ``float16``.
    faces, count
        The images of the parity gate, and their number.
    bound : float, optional
        Lowest cosine to accept; by default depends on ``dtype``.
    overwrite : bool
        Replace existing files.
    image_size : (int, int), optional
        Height and width of the images, if the checkpoint does not state them.

    Raises
    ------
    InsightError
        A file is missing or damaged or already exists, an operator has no translation, the size of the images is not
        known, or ncnn or pnnx is not installed.
    CheckFailed
        The parity gate found a difference; nothing was written.
    """
    if dtype not in BOUNDS:
        raise InsightError(f"--dtype {dtype}: want one of {', '.join(BOUNDS)}")
    name = re.sub(r"\.param$", "", Path(output).name)
    if not name or not os.path.basename(output):
        raise InsightError(f"--output {output!r}: want the prefix of two files, like models/y1")
    folder, names = Path(output).parent, [f"{name}.bin", f"{name}.param"]
    refuse_weights_of(folder / f"{name}.xml")
    if not overwrite:
        refuse_existing(folder, names)
    program = _program()
    source = open_source(spec, image_size=image_size)
    prefix = str(folder / name)
    if not overwrite and lineage.outdates(prefix, source.stages):
        refuse_existing(folder, [lineage.path(prefix).name])
    with naming(spec):
        network = to_onnx(source.model)
    images = parity.take(faces, count, source.network.image_size)
    with tempfile.TemporaryDirectory(prefix="insight-ncnn-") as temporary:
        converted = _convert(program, spec, network, Path(temporary), dtype)
        renamed = _named(ncnnparam.read(converted), source.network.image_size)
        converted.write_text(ncnnparam.text_of(renamed), encoding="utf-8")
        engine = NcnnEngine(str(converted))
        agreement = parity.gate(
            str(folder / names[1]), source.network, engine, images, BOUNDS[dtype] if bound is None else bound
        )
        with commit_together(folder, names, overwrite) as staging:
            for file, target in zip((ncnnparam.weights_path(converted), converted), names):
                shutil.copyfile(file, staging.path(target))
            lineage.add(staging, prefix, source.stages)
    weights, param = (folder / file_name for file_name in names)
    size = weights.stat().st_size + param.stat().st_size
    facts = (engine.image_size, engine.dimension, len(source.stages))
    return NcnnExport(param, weights, size, *facts, agreement, source.notes)


def _program() -> str:
    """The pnnx executable inside its wheel; the command of that name is a Python script that needs PyTorch."""
    package = importlib.util.find_spec("pnnx")
    program = Path(package.submodule_search_locations[0]) / "pnnx" if package else None
    if program is None or not program.is_file():
        raise InsightError(f"pnnx, which writes ncnn's files, is not installed; {REMEDY}")
    return str(program)


def _convert(program: str, spec: str, network: ModelProto, folder: Path, dtype: str) -> Path:
    """Write the .param and .bin into a folder with pnnx; returns the path of the .param."""
    for value in (network.graph.input[0], network.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 1  # pnnx needs all lengths to be known
    (folder / "m.onnx").write_bytes(network.SerializeToString())
    param = folder / "m.param"
    command = [program, "m.onnx", "ncnnparam=m.param", "ncnnbin=m.bin", f"fp16={int(dtype == 'float16')}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    output = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    complaints = [line for line in output if COMPLAINT.search(line)]
    if complaints:
        raise InsightError(f"{spec}: pnnx has no translation for ncnn: {'; '.join(complaints)[:200]}")
    if done.returncode or not param.is_file() or not ncnnparam.weights_path(param).is_file():
        last = output[-1][:200] if output else "no output"
        raise InsightError(f"{spec}: pnnx could not convert it (status {done.returncode}): {last}")
    return param


def _named(layers: List[NcnnLayer], size: tuple) -> List[NcnnLayer]:
    """Rename the blobs of pnnx's layers as mxnet2ncnn does, ``data`` and ``fc1``, and state the image size.

    The size (H, W) is written to the Input layer. A network without normalisation gets a ``data - 0`` in front, which
    marks it as one that takes raw pixels.
    """
    names = {ncnnparam.inputs(layers)[0].tops[0]: cut.INPUT, ncnnparam.outputs(layers)[0]: cut.EMBEDDING}
    body = [layer for layer in layers if layer.kind != ncnnparam.INPUT]
    height, width = size
    first = [NcnnLayer(ncnnparam.INPUT, cut.INPUT, [], [cut.INPUT], {0: str(width), 1: str(height), 2: "3"})]
    if not normalises(body):
        names[next(iter(names))] = raw = f"{cut.INPUT}_raw"
        first.append(NcnnLayer("BinaryOp", "input_minus", [cut.INPUT], [raw], {0: "1", 1: "1", 2: "0.0"}))
    return first + [
        _fixed(layer)._replace(bottoms=_renamed(layer.bottoms, names), tops=_renamed(layer.tops, names))
        for layer in body
    ]


def _fixed(layer: NcnnLayer) -> NcnnLayer:
    """Write pnnx's Reshape of a vector to (channels, 1, 1) with plain numbers.

    In squeeze-and-excitation blocks pnnx writes the shape as an expression of the batch size, which only recent
    releases of ncnn understand.
    """
    expression = BY_BATCH.fullmatch(layer.params.get(6, "")) if layer.kind == "Reshape" else None
    return layer._replace(params={0: "1", 1: "1", 2: expression.group(1)}) if expression else layer


def _renamed(blobs: List[str], names: Dict[str, str]) -> List[str]:
    return [names.get(blob, blob) for blob in blobs]
