"""ONNX -> 8-bit ONNX in the QDQ form: QuantizeLinear and DequantizeLinear around float operators, opset 13.

Weights are int8, symmetric, with one scale per output channel; biases int32; feature maps uint8 with one scale and
zero point each, as ONNX Runtime is fastest with on x86. Weights use 7 of their 8 bits, so that sums are exact on
every processor (:mod:`insight.engines.overflow`), unless 8 are asked for. A runtime that knows the form (ONNX
Runtime, OpenVINO) takes each operator and the pairs around it for one 8-bit operator; to any other it is float
arithmetic on rounded numbers.
"""

from __future__ import annotations

from typing import Dict, List, Mapping, NamedTuple, Tuple

import numpy as np
from onnx import ModelProto, NodeProto, checker, helper, numpy_helper

from ..engines.overflow import WEIGHT_MAX

WEIGHTED = ("Conv", "Gemm")
RECTIFIERS = ("Relu", "PRelu")  # runtimes fuse them into the convolution before: no rounding between
LEVELS = 255  # of uint8


class Scale(NamedTuple):
    """real = scale * (stored - zero)."""

    scale: np.float32
    zero: np.uint8


def rounded(model: ModelProto) -> List[str]:
    """Names of the tensors that are to be stored in 8 bits, in the order of the graph.

    Those that convolutions and fully connected layers read, and the terms and results of sums. Where only a
    rectifier reads what a convolution gives, it is the rectifier's that is stored.
    """
    readers = _readers(model)
    wanted = set()
    for node in model.graph.node:
        if node.op_type in WEIGHTED:
            wanted.update((node.input[0], node.output[0]))
        elif node.op_type == "Add":
            wanted.update((*node.input, node.output[0]))
    produced = [node for node in model.graph.node if node.output[0] in wanted]
    ends = {value.name for value in model.graph.output}
    return [node.output[0] for node in produced if node.output[0] not in ends and not _is_fused(node, readers)]


def _readers(model: ModelProto) -> Dict[str, List[str]]:
    """The operators that read each tensor."""
    readers: Dict[str, List[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node.op_type)
    return readers


def _is_fused(node: NodeProto, readers: Dict[str, List[str]]) -> bool:
    after = readers.get(node.output[0], [])
    return node.op_type in ("Conv", "Add") and len(after) == 1 and after[0] in RECTIFIERS


def scale_of(low: float, high: float) -> Scale:
    """Scale and zero point of a range; it is widened to hold 0, which padding needs, and exactly so."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / LEVELS) or np.float32(1)
    return Scale(scale, np.uint8(np.clip(np.rint(-low / scale), 0, LEVELS)))


def to_qdq(model: ModelProto, ranges: Mapping[str, Tuple[float, float]], weight_bits: int = 7) -> ModelProto:
    """Round weights and feature maps of a network.

    Parameters
    ----------
    model : onnx.ModelProto
        From :func:`insight.graph.onnx_model.to_onnx`; it is left alone.
    ranges : mapping of str to (float, float)
        Lowest and highest value to represent, for each of :func:`rounded`; values outside are clipped.
    weight_bits : int
        7: weights are stored as -64..64; 8: as -127..127.
    """
    writer = _Writer(model, {name: scale_of(*span) for name, span in ranges.items()}, WEIGHT_MAX[weight_bits])
    for node in model.graph.node:
        writer.add(node)
    result = ModelProto()
    result.CopyFrom(model)
    for field, values in (("node", writer.nodes), ("initializer", list(writer.initializers.values()))):
        result.graph.ClearField(field)
        getattr(result.graph, field).extend(values)
    checker.check_model(result, full_check=True)
    return result


class _Writer:
    def __init__(self, model: ModelProto, scales: Dict[str, Scale], weight_max: int):
        self.nodes: List[NodeProto] = []
        self.initializers: dict = {}
        self._floats = {tensor.name: tensor for tensor in model.graph.initializer}
        self._scales = dict(scales)
        self._weight_max = weight_max

    def add(self, node: NodeProto) -> None:
        source, result = node.input[0], node.output[0]
        if source in self._scales and node.op_type in ("Relu", "Flatten"):
            self._stay_rounded(node, self._scales[source])
            return
        copy = NodeProto()
        copy.CopyFrom(node)
        if node.op_type in WEIGHTED and source in self._scales:
            copy.ClearField("input")
            copy.input.extend([source, *self._weights(node, self._scales[source])])
        for slot, name in enumerate(copy.input):
            if name in self._scales:
                copy.input[slot] = f"{name}_real"
            elif name in self._floats:
                self.initializers[name] = self._floats[name]
        self.nodes.append(copy)
        if result in self._scales:
            scale = self._constants(result, self._scales[result])
            self._emit("QuantizeLinear", [result, *scale], f"{result}_rounded")
            self._emit("DequantizeLinear", [f"{result}_rounded", *scale], f"{result}_real")

    def _stay_rounded(self, node: NodeProto, scale: Scale) -> None:
        """max(x, 0) and Flatten of what is rounded need no arithmetic: the stored numbers keep their scale."""
        source, result = node.input[0], node.output[0]
        constants = self._constants(source, scale)
        if node.op_type == "Relu":
            self._emit("Clip", [f"{source}_rounded", constants[1]], f"{result}_rounded", node.name)
        else:
            self._emit("Flatten", [f"{source}_rounded"], f"{result}_rounded", node.name, axis=1)
        self._emit("DequantizeLinear", [f"{result}_rounded", *constants], f"{result}_real")
        self._scales[result] = scale

    def _weights(self, node: NodeProto, source: Scale) -> List[str]:
        """The weight and bias of a layer, rounded; the bias in units of input scale times weight scale."""
        weight = numpy_helper.to_array(self._floats[node.input[1]]).astype(np.float64)
        flat = np.abs(weight).reshape(len(weight), -1).max(axis=1)
        scale = (np.where(flat > 0, flat, 1.0) / self._weight_max).astype(np.float32)
        stored = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1)))
        stored = np.clip(stored, -self._weight_max, self._weight_max)
        names = [self._rounded_array(f"{node.name}_weight", stored, scale, np.int8)]
        if len(node.input) > 2:
            bias = numpy_helper.to_array(self._floats[node.input[2]]).astype(np.float64)
            unit = (scale.astype(np.float64) * source.scale).astype(np.float32)
            most = np.iinfo(np.int32)
            stored = np.clip(np.rint(bias / unit), most.min, most.max)
            names.append(self._rounded_array(f"{node.name}_bias", stored, unit, np.int32))
        return names

    def _rounded_array(self, name: str, stored: np.ndarray, scale: np.ndarray, kind: type) -> str:
        inputs = [self._constant(f"{name}_rounded", stored.astype(kind)), self._constant(f"{name}_scale", scale)]
        if kind is np.int8:  # zeros are the default, but ONNX Runtime 1.16 fails without them
            inputs.append(self._constant(f"{name}_zero", np.zeros(len(scale), kind)))
        return self._emit("DequantizeLinear", inputs, f"{name}_real", axis=0)

    def _constants(self, name: str, scale: Scale) -> List[str]:
        return [self._constant(f"{name}_scale", scale.scale), self._constant(f"{name}_zero", scale.zero)]

    def _constant(self, name: str, value) -> str:
        self.initializers[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def _emit(self, operator: str, inputs: List[str], output: str, name: str = "", **attrs) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=name or output, **attrs))
        return output
