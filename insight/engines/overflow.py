"""Test whether the sums of 8-bit products in a runtime overflow on this processor.

x86 processors without VNNI multiply 8-bit numbers with ``vpmaddubsw``, which adds pairs of products uint8 * int8 in
16 bits with saturation at 32,767. See "Nuances of int8 Computations" in oneDNN's developer guide. With 7-bit weights of
at most 64 in magnitude, the sum of a pair is at most 2 * 255 * 64 = 32,640, which is exact on every processor. With
8-bit weights of up to 127, it is up to 64,770.

The test evaluates a small network whose sums would overflow. Processor flags are not sufficient, because the kernel
depends on the runtime and its version.
"""

from __future__ import annotations

from functools import cache
from typing import Callable, Dict, Tuple

import numpy as np

WEIGHT_MAX: Dict[int, int] = {7: 64, 8: 127}  # largest magnitude of an int8 weight, by bits
SIDE = 3  # pixels of the test image, and of the kernel


@cache
def overflows(load: Callable, device: Tuple[str, int] = ("cpu", 0), weight: int = WEIGHT_MAX[8]) -> bool:
    """Whether the result of a uint8 by int8 convolution is smaller than the exact sum.

    Parameters
    ----------
    load : callable
        Class of an engine of ONNX networks, called as ``load(spec, threads=, device=, content=)``.
    device : (str, int)
        ``cpu`` or ``gpu``, and its number.
    weight : int
        Value of all 27 weights; all pixels are 255.

    Raises
    ------
    Unable
        The runtime is not installed, or does not support int8 networks.
    """
    kind, number = device
    engine = load("the overflow test", threads=1, device=f"{kind}({number})", content=_network(weight))
    sums = engine(np.full((1, 3, SIDE, SIDE), 255, np.uint8))
    return bool(sums.min() < 0.95)  # exact sums are 1; saturated pairs with weights of 127 give about half


def _network(weight: int) -> bytes:
    """A serialised ONNX convolution in QDQ form, for input (x - 127.5) / 127.5; its result for white images is 1."""
    from onnx import TensorProto, helper, numpy_helper

    filters, count = 8, 3 * SIDE * SIDE
    arrays = {
        "weight": np.full((filters, 3, SIDE, SIDE), weight, np.int8),
        "weight_scale": np.full(filters, 1 / (weight * count), np.float32),
        "weight_zero": np.zeros(filters, np.int8),
        "scale": np.float32(1 / 255),
        "zero": np.uint8(0),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["data", "scale", "zero"], ["pixels"]),
        helper.make_node("DequantizeLinear", ["pixels", "scale", "zero"], ["images"]),
        helper.make_node("DequantizeLinear", ["weight", "weight_scale", "weight_zero"], ["kernel"], axis=0),
        helper.make_node("Conv", ["images", "kernel"], ["sums"], kernel_shape=[SIDE, SIDE]),
        helper.make_node("QuantizeLinear", ["sums", "scale", "zero"], ["rounded"]),
        helper.make_node("DequantizeLinear", ["rounded", "scale", "zero"], ["maps"]),
        helper.make_node("Flatten", ["maps"], ["fc1"], axis=1),
    ]
    images = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    embeddings = helper.make_tensor_value_info("fc1", TensorProto.FLOAT, ["batch", filters])
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "overflow", [images], [embeddings], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    return model.SerializeToString()
