"""ncnn's ``.param`` files: a network as text, one layer per line.

The first line is a magic number, the second has the counts of layers and blobs. The line of a layer has its type, its
name, the counts of blobs that it reads and writes, their names, and its parameters as ``number=value``; the meaning of
a number depends on the type (Tencent/ncnn@a4d2ea1d, docs/developer-guide/param-and-model-file-structure.md). The
weights are in a ``.bin`` beside the ``.param``, in the order of the layers, without names or sizes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, NamedTuple

from ..errors import InsightError
from ..files.atomic import PathLike
from ..files.text import BLANK, excerpt, numbered_lines

MAGIC = "7767517"
_WANT = "want a .param of ncnn, as export-ncnn writes it"
INPUT = "Input"  # the type of input layers; their parameters 0, 1, 2 are width, height, channels


class NcnnLayer(NamedTuple):
    """A layer: type, name, blobs that it reads and writes, parameters as text by number."""

    kind: str
    name: str
    bottoms: List[str]
    tops: List[str]
    params: Dict[int, str]

    def number(self, key: int, default: int = 0) -> int:
        """An integer parameter; the default if it is missing or not an integer."""
        try:
            return int(self.params[key])
        except (KeyError, ValueError):
            return default


def weights_path(path: PathLike) -> Path:
    """Path of the weights (``.bin``) of a ``.param``."""
    return Path(path).with_suffix(".bin")


def read(path: PathLike) -> List[NcnnLayer]:
    """Read the layers of a ``.param`` file.

    Raises
    ------
    InsightError
        The file is missing, is not a ``.param``, is truncated, or has an invalid line.
    """
    lines = [(number, line.strip(BLANK)) for number, line in numbered_lines(path, _WANT)]
    if not lines or lines[0][1] != MAGIC:
        found = repr(lines[0][1][:20]) if lines else "nothing"
        raise InsightError(f"{path}: not a .param of ncnn in text form (begins with {found}, want {MAGIC}); {_WANT}")
    layers = [_layer(path, number, line) for number, line in lines[2:]]
    counts = " ".join(line for _, line in lines[1:2]).split()
    if counts[:1] != [str(len(layers))]:
        count = counts[0][:20] if counts else "nothing"
        raise InsightError(
            f"{path}: has {len(layers)} layers, and its second line says {count}; it is truncated, {_WANT}"
        )
    return layers


def text_of(layers: List[NcnnLayer]) -> str:
    """Format layers as the text of a ``.param`` file."""
    blobs = {blob for layer in layers for blob in layer.tops}
    lines = [MAGIC, f"{len(layers)} {len(blobs)}"]
    for layer in layers:
        words = [f"{layer.kind:<24} {layer.name:<24}", str(len(layer.bottoms)), str(len(layer.tops))]
        words += [*layer.bottoms, *layer.tops, *(f"{key}={value}" for key, value in layer.params.items())]
        lines.append(" ".join(words))
    return "\n".join(lines) + "\n"


def inputs(layers: List[NcnnLayer]) -> List[NcnnLayer]:
    """The layers of type ``Input``."""
    return [layer for layer in layers if layer.kind == INPUT]


def outputs(layers: List[NcnnLayer]) -> List[str]:
    """Names of the blobs that no layer reads."""
    used = {blob for layer in layers for blob in layer.bottoms}
    return [blob for layer in layers for blob in layer.tops if blob not in used]


def _layer(path: PathLike, number: int, line: str) -> NcnnLayer:
    words = line.split()
    try:
        kind, name, reads, writes = words[0], words[1], int(words[2]), int(words[3])
        blobs, pairs = words[4 : 4 + reads + writes], words[4 + reads + writes :]
        params = {int(key): value for key, value in (pair.split("=", 1) for pair in pairs)}
        if min(reads, writes) < 0 or len(blobs) != reads + writes:
            raise ValueError
    except (IndexError, ValueError):
        raise InsightError(
            f"{path}:{number}: want a layer: type, name, counts of blobs, blobs, number=value; found {excerpt(line)}; "
            f"the file is damaged or truncated"
        ) from None
    return NcnnLayer(kind, name, blobs[:reads], blobs[reads:], params)
