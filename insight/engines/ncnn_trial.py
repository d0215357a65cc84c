"""Whether ncnn can evaluate a file, tried in a process of its own.

ncnn checks little: a layer without its parameter, weights of another network or images of another size are read past
their end, and give numbers or a crash. So before a file is used, a child loads it, counts how much of the weights is
read, embeds one image and compares what each layer gets with what its weights are for. Needs ncnn; no MXNet.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
from typing import Iterator, List, Optional, Tuple

import numpy as np

from ..errors import InsightError
from ..formats import ncnnparam
from ..formats.ncnnparam import NcnnLayer
from ..machine.child import run_child

SECONDS = 300  # for one image; a damaged file may ask for any amount of work,
MEMORY = 4 << 30  # and of memory: bytes, beside a multiple of its weights
LOGGED = "{logged}"  # where the last line that ncnn logged goes, which only the parent sees
CHILD = "import sys; from insight.engines.ncnn_trial import child; child(*sys.argv[1:])"


def dimension(path: str, size: Tuple[int, int]) -> int:
    """Length E of the embedding that a file gives of an image (3, H, W).

    Parameters
    ----------
    path : str
        The .param file; its .bin is beside it.
    size : (int, int)
        Height and width.

    Raises
    ------
    InsightError
        ncnn does not load it, the weights are not those of the network, or it takes or gives something else.
    """
    ended = run_child(CHILD, SECONDS, arguments=[path, *map(str, size)])
    reason = ended.last_line[:200] or "it does not say why"  # it quotes what a damaged file holds, be it text or not
    if ended.status is None:
        raise InsightError(f"{path}: ncnn needs more than {SECONDS} s for one image; is it damaged?")
    if ended.status < 0:
        name = signal.Signals(-ended.status).name
        raise InsightError(f"{path}: ncnn crashes on it ({name}); it is damaged, or not for {_said(size)} images")
    if ended.status:
        raise InsightError(f"{path}: ncnn does not load it: {reason}")
    answer = ended.facts[-1]
    if "why" in answer:
        raise InsightError(f"{path}: {answer['why'].replace(LOGGED, reason)}")
    return answer["dimension"]


def child(path: str, height: str, width: str) -> None:
    """What the child does: one line of JSON on stdout."""
    weights = ncnnparam.weights_path(path).read_bytes()
    most = MEMORY + 8 * len(weights)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    try:
        said = {"dimension": _try(path, weights, (int(height), int(width)))}
    except InsightError as error:
        said = {"why": str(error)}
    print(json.dumps(said), flush=True)
    os._exit(0)  # nothing of a damaged network is taken apart


def _try(path: str, weights: bytes, size: Tuple[int, int]) -> int:
    """The dimension; or InsightError, without the name of the file."""
    import ncnn

    layers, beside = ncnnparam.read(path), ncnnparam.weights_path(path).name
    net = ncnn.Net()
    net.opt.num_threads = 1
    if net.load_param(path):
        raise InsightError(f"ncnn does not load it: {LOGGED}")
    reader = _counting(ncnn, weights)
    if net.load_model(reader):
        raise InsightError(f"ncnn does not load {beside} beside it, damaged or of another network: {LOGGED}")
    if reader.at != len(weights):
        raise InsightError(
            f"{beside} beside it holds {len(weights)} bytes, and the network takes {reader.at}; are they of one export?"
        )
    extractor = net.create_extractor()
    extractor.set_light_mode(False)  # keep what is between the layers
    image = np.zeros((3, *size), np.float32)
    extractor.input(ncnnparam.inputs(layers)[0].tops[0], ncnn.Mat(image).clone())
    for misfit in _misfits(layers, extractor):
        raise InsightError(f"no network for {_said(size)} RGB images: {misfit}")
    status, embedding = extractor.extract(ncnnparam.outputs(layers)[0])
    if status:
        raise InsightError(f"ncnn does not evaluate it on {_said(size)} images (status {status})")
    if embedding.h * embedding.d * embedding.c != 1:
        shape = (embedding.c, embedding.d, embedding.h, embedding.w)
        raise InsightError(f"a face-embedding network gives one vector, and this one gives {shape}")
    return embedding.w


def _counting(ncnn, data: bytes):
    """A reader of weights that knows how far it came."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]

    class Reader(ncnn.DataReader):
        def __init__(self):
            super().__init__()
            self.at = 0

        def read(self, buffer, size):
            count = min(size, len(data) - self.at)
            ctypes.memmove(pointer(buffer, None), data[self.at : self.at + count], count)
            self.at += count
            return count

    return Reader()


def _misfits(layers: List[NcnnLayer], extractor) -> Iterator[str]:
    """Layers that get another number of channels or values than their weights are for, each before it is evaluated."""
    for layer in layers:
        takes = _takes(layer)
        if takes is None:
            continue
        status, blob = extractor.extract(layer.bottoms[0])
        if status:
            yield f"what layer {layer.name} takes cannot be computed (status {status})"
        fully = layer.kind == "InnerProduct"
        gets = blob.w * blob.h * blob.d * blob.c if fully else blob.c
        if gets != takes and (fully or blob.dims == 3):  # of less than three, the channels are elsewhere
            yield f"layer {layer.name} takes {takes} {'values' if fully else 'channels'}, and gets {gets}"


def _takes(layer: NcnnLayer) -> Optional[int]:
    """How many input channels, or values, a layer's weights are for; None where it has none."""
    outputs = layer.number(0)
    if layer.kind == "InnerProduct" and outputs > 0:
        return layer.number(2) // outputs
    if layer.kind in ("Convolution", "ConvolutionDepthWise") and outputs > 0:
        kernel = layer.number(1) * layer.number(11, layer.number(1))
        groups = layer.number(7, 1) if layer.kind == "ConvolutionDepthWise" else 1
        return layer.number(6) * groups // (outputs * kernel) if kernel > 0 else None
    return None


def _said(size: Tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
