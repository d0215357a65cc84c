"""A network with the outputs of an SCRFD file, which sees bright pixels as faces.

At every position of strides 8, 16 and 32 it gives two anchors. The score of the first is the brightness (0 to 1) of
the pixel at the anchor's centre, that of the second 0; distances are those that the caller wants.
"""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

EDGES = (1.0, 2.0, 3.0, 4.0)  # left, top, right, bottom, in strides
POINTS = (-0.5, -1.0, 0.5, -1.0, 0.0, 0.0, -0.25, 1.0, 0.25, 1.0)


def scrfd(path, size: Optional[Tuple[int, int]] = None, batch: bool = False, points: bool = True) -> str:
    """Write the file: of a fixed (height, width) or for any, with or without a first dimension in the outputs."""
    nodes, weights, outputs = [], [], []

    def constant(name, array):
        weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    kinds = [("score", 1, None), ("bbox", 4, EDGES)] + ([("kps", 10, POINTS)] if points else [])
    for kind, columns, values in kinds:
        for stride in (8, 16, 32):
            name = f"{kind}_{stride}"
            kernel = np.zeros((2 * columns, 3, stride, stride), np.float32)
            bias = np.zeros(2 * columns, np.float32)
            if kind == "score":  # (v - 127.5) / 128 of the first pixel of each block -> v / 255
                kernel[0, :, 0, 0] = 128 / 255 / 3
                bias[0] = 0.5
            else:
                bias[:columns] = values
            constant(f"{name}_kernel", kernel)
            constant(f"{name}_bias", bias)
            constant(f"{name}_shape", np.array([1, -1, columns] if batch else [-1, columns], np.int64))
            nodes += [
                helper.make_node(
                    "Conv",
                    ["input", f"{name}_kernel", f"{name}_bias"],
                    [f"{name}_map"],
                    kernel_shape=[stride] * 2,
                    strides=[stride] * 2,
                ),
                helper.make_node("Transpose", [f"{name}_map"], [f"{name}_last"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{name}_last", f"{name}_shape"], [name]),
            ]
            shape = [1, None, columns] if batch else [None, columns]
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, *(size or ("height", "width"))])
    graph = helper.make_graph(nodes, "scrfd", [image], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return str(path)
