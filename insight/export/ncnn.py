"""Checkpoint -> ncnn's ``.param`` and ``.bin``, by way of ONNX and pnnx, kept only if ncnn embeds faces with them as
MXNet does.

pnnx gets the plain graph: it folds batch norm by itself, and ncnn's PReLU costs little, so that the fast graph's
second convolutions only take time.
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

BOUNDS = {"float32": parity.FLOAT32_BOUND, "float16": 0.999}  # least cosine, by the type of the weights
REMEDY = "run: pip install --no-deps pnnx"
BY_BATCH = re.compile(r'"1,1,//\((\d+),0n\),0n"')
COMPLAINT = re.compile(r"not supported|^ignore ")


class NcnnExport(NamedTuple):
    """What was written: both files, their bytes together, image size, E, stages of its lineage, agreement; and what had
    to be assumed about the checkpoint.
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
        Prefix of PREFIX.param and PREFIX.bin. Both appear, or neither.
    dtype : str
        What the weights of convolutions and of the fully connected layer are stored in, ``float32`` or ``float16``.
    faces, count
        The images of the parity gate, and how many.
    bound : float, optional
        The least cosine; by ``dtype`` where missing.
    overwrite : bool
        Replace files that are there.
    image_size : (int, int), optional
        Height and width that the network takes, where the checkpoint does not state them.

    Raises
    ------
    InsightError
        A file is missing or damaged, an operator has no translation, the size of the images is not known, or ncnn or
        pnnx is not installed.
    CheckFailed
        The parity gate found a difference; nothing was written.
    """
    if dtype not in BOUNDS:
        raise InsightError(f"--dtype {dtype}: want one of {', '.join(BOUNDS)}")
    name = re.sub(r"\.param$", "", Path(output).name)
    if not name or not os.path.basename(output):
        raise InsightError(f"--output {output!r}: want the prefix of two files, as models/y1")
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
        made = _convert(program, spec, network, Path(temporary), dtype)
        made.write_text(ncnnparam.text_of(_named(ncnnparam.read(made), source.network.image_size)), encoding="utf-8")
        engine = NcnnEngine(str(made))
        agreement = parity.gate(
            str(folder / names[1]), source.network, engine, images, BOUNDS[dtype] if bound is None else bound
        )
        with commit_together(folder, names, overwrite) as staging:
            for file, to in zip((ncnnparam.weights_path(made), made), names):
                shutil.copyfile(file, staging.path(to))
            lineage.add(staging, prefix, source.stages)
    weights, param = (folder / each for each in names)
    size = weights.stat().st_size + param.stat().st_size
    facts = (engine.image_size, engine.dimension, len(source.stages))
    return NcnnExport(param, weights, size, *facts, agreement, source.notes)


def _program() -> str:
    """pnnx itself, from its wheel; the command of that name is a Python script that wants PyTorch."""
    found = importlib.util.find_spec("pnnx")
    program = Path(found.submodule_search_locations[0]) / "pnnx" if found else None
    if program is None or not program.is_file():
        raise InsightError(f"pnnx, which writes ncnn's files, is not installed; {REMEDY}")
    return str(program)


def _convert(program: str, spec: str, network: ModelProto, folder: Path, dtype: str) -> Path:
    """Let pnnx write the .param and .bin into a folder; returns the path of the .param."""
    for value in (network.graph.input[0], network.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 1  # pnnx wants every length to be known
    (folder / "m.onnx").write_bytes(network.SerializeToString())
    made = folder / "m.param"
    command = [program, "m.onnx", "ncnnparam=m.param", "ncnnbin=m.bin", f"fp16={int(dtype == 'float16')}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    complaints = [line for line in said if COMPLAINT.search(line)]
    if complaints:
        raise InsightError(f"{spec}: pnnx has no translation for ncnn: {'; '.join(complaints)[:200]}")
    if done.returncode or not made.is_file() or not ncnnparam.weights_path(made).is_file():
        last = said[-1][:200] if said else "no word"
        raise InsightError(f"{spec}: pnnx could not convert it (status {done.returncode}): {last}")
    return made


def _named(layers: List[NcnnLayer], size: tuple) -> List[NcnnLayer]:
    """pnnx's layers with the blobs of mxnet2ncnn, ``data`` and ``fc1``, and the size of images where ncnn has room.

    A network without normalisation gets ``data - 0`` in front, for whoever asks whether it takes raw pixels.
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
    """A Reshape of a vector to (channels, 1, 1) in plain numbers.

    pnnx writes it, inside squeeze and excitation, as an expression of the batch, which only ncnn of its own age knows.
    """
    found = BY_BATCH.fullmatch(layer.params.get(6, "")) if layer.kind == "Reshape" else None
    return layer._replace(params={0: "1", 1: "1", 2: found.group(1)}) if found else layer


def _renamed(blobs: List[str], names: Dict[str, str]) -> List[str]:
    return [names.get(blob, blob) for blob in blobs]
