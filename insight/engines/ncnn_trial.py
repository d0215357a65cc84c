"""Check whether ncnn can evaluate a file, in a child process.

ncnn hardly validates files. If a parameter is missing, or the weights or images do not fit the network, it reads past
the end of its buffers and returns arbitrary numbers or crashes. Therefore, before a file is used, a child process loads
it, counts how many bytes of the weights are read, embeds one image, and compares the input of each layer with the shape
of its weights. This needs ncnn, but not MXNet.
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

SECONDS = 300  # time limit for one image; a damaged file may need an arbitrary amount of computation
MEMORY = 4 << 30  # memory limit in bytes, in addition to a multiple of the weights
LOGGED = "{logged}"  # placeholder for the last line of ncnn's log, which only the parent process sees
CHILD = "import sys; from insight.engines.ncnn_trial import child; child(*sys.argv[1:])"


def dimension(path: str, size: Tuple[int, int]) -> int:
    """Evaluate a network on one image (3, H, W) in a child process, and return its embedding size E.

    Parameters
    ----------
    path : str
        The .param file; its .bin is in the same folder.
    size : (int, int)
        Height and width of the images.

    Raises
    ------
    InsightError
        ncnn does not load or evaluate the file, the weights are not those of the network, or inputs or outputs are not
        those of a face-embedding network.
    """
    ended = run_child(CHILD, SECONDS, arguments=[path, *map(str, size)])
    reason = ended.last_line[:200] or "no reason given"  # limited, because ncnn's log may quote bytes of a damaged file
    if ended.status is None:
        raise InsightError(f"{path}: ncnn needs more than {SECONDS} s for one image; is it damaged?")
    if ended.status < 0:
        name = signal.Signals(-ended.status).name
        raise InsightError(f"{path}: ncnn crashes on it ({name}); it is damaged, or not for {_format(size)} images")
    if ended.status:
        raise InsightError(f"{path}: ncnn does not load it: {reason}")
    result = ended.facts[-1]
    if "error" in result:
        raise InsightError(f"{path}: {result['error'].replace(LOGGED, reason)}")
    return result["dimension"]


def child(path: str, height: str, width: str) -> None:
    """Entry point of the child process. Prints a JSON object with ``dimension`` or ``error`` on one line."""
    weights = ncnnparam.weights_path(path).read_bytes()
    limit = MEMORY + 8 * len(weights)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        result = {"dimension": _try(path, weights, (int(height), int(width)))}
    except InsightError as error:
        result = {"error": str(error)}
    print(json.dumps(result), flush=True)
    os._exit(0)  # skip the destructors of a damaged network


def _try(path: str, weights: bytes, size: Tuple[int, int]) -> int:
    """Return the embedding size, or raise InsightError; its message does not contain the name of the file."""
    import ncnn

    layers, beside = ncnnparam.read(path), ncnnparam.weights_path(path).name
    net = ncnn.Net()
    net.opt.num_threads = 1
    if net.load_param(path):
        raise InsightError(f"ncnn does not load it: {LOGGED}")
    reader = _counting(ncnn, weights)
    if net.load_model(reader):
        raise InsightError(f"ncnn does not load {beside}, which is damaged or of another network: {LOGGED}")
    if reader.at != len(weights):
        raise InsightError(
            f"{beside} has {len(weights)} bytes, but the network reads {reader.at}; are both from the same export?"
        )
    extractor = net.create_extractor()
    extractor.set_light_mode(False)  # keep the intermediate blobs
    image = np.zeros((3, *size), np.float32)
    extractor.input(ncnnparam.inputs(layers)[0].tops[0], ncnn.Mat(image).clone())
    for misfit in _misfits(layers, extractor):
        raise InsightError(f"not a network for {_format(size)} RGB images: {misfit}")
    status, embedding = extractor.extract(ncnnparam.outputs(layers)[0])
    if status:
        raise InsightError(f"ncnn does not evaluate it on {_format(size)} images (status {status})")
    if embedding.h * embedding.d * embedding.c != 1:
        shape = (embedding.c, embedding.d, embedding.h, embedding.w)
        raise InsightError(f"a face-embedding network gives one vector, but this one gives {shape}")
    return embedding.w


def _counting(ncnn, data: bytes):
    """An ncnn.DataReader of the weights that counts the bytes read."""
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
    """Yield messages for layers whose input does not have the number of channels or values that their weights need.

    Each layer is checked before it is evaluated.
    """
    for layer in layers:
        takes = _takes(layer)
        if takes is None:
            continue
        status, blob = extractor.extract(layer.bottoms[0])
        if status:
            yield f"the input of layer {layer.name} cannot be computed (status {status})"
        fully = layer.kind == "InnerProduct"
        gets = blob.w * blob.h * blob.d * blob.c if fully else blob.c
        if gets != takes and (fully or blob.dims == 3):  # blob.c is the channels only with 3 dimensions
            yield f"layer {layer.name} takes {takes} {'values' if fully else 'channels'}, but gets {gets}"


def _takes(layer: NcnnLayer) -> Optional[int]:
    """Number of input channels, or of values, that the weights of a layer need; None for a layer without weights."""
    outputs = layer.number(0)
    if layer.kind == "InnerProduct" and outputs > 0:
        return layer.number(2) // outputs
    if layer.kind in ("Convolution", "ConvolutionDepthWise") and outputs > 0:
        kernel = layer.number(1) * layer.number(11, layer.number(1))
        groups = layer.number(7, 1) if layer.kind == "ConvolutionDepthWise" else 1
        return layer.number(6) * groups // (outputs * kernel) if kernel > 0 else None
    return None


def _format(size: Tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
