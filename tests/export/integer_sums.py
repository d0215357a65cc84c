"""An 8-bit ONNX file in NumPy integers: the sums of its layers exact, and as x86 processors without VNNI add them."""

import numpy as np
from onnx import helper, numpy_helper

HIGHEST, LOWEST = 32767, -32768  # of 16 bits


def saturating(left, right):
    """left @ right as computed by ``vpmaddubsw`` and ``vpmaddwd``, and the number of pairs that saturated.

    Parameters
    ----------
    left : numpy.ndarray
        (M, K) uint8.
    right : numpy.ndarray
        (K, N) int8.

    Returns
    -------
    (M, N) int64, and int
        Products of neighbours along K are added in 16 bits, which saturate; these sums in 32 bits.
    """
    left, right = np.pad(left, ((0, 0), (0, len(right) % 2))), np.pad(right, ((0, len(right) % 2), (0, 0)))
    left, right = left.astype(np.int32), right.astype(np.int32)
    total, clipped = np.zeros((len(left), right.shape[1]), np.int64), 0
    for k in range(0, len(right), 2):
        pair = left[:, k, None] * right[k] + left[:, k + 1, None] * right[k + 1]
        clipped += int(((pair > HIGHEST) | (pair < LOWEST)).sum())
        total += np.clip(pair, LOWEST, HIGHEST)
    return total, clipped


def exact(left, right):
    """left @ right in integers."""
    return (left.astype(np.float64) @ right.astype(np.float64)).astype(np.int64)  # below 2 ** 53


def worst_pair(model):
    """The largest sum of two products that any layer can get from any input: 255 times its two largest weights."""
    worst = 0
    for weight in stored_weights(model).values():
        rows = weight.reshape(len(weight), -1).astype(np.int64)
        for sign in (1, -1):
            two = np.sort(np.maximum(sign * rows, 0), axis=1)[:, -2:]
            worst = max(worst, 255 * int(two.sum(axis=1).max()))
    return worst


def stored_weights(model):
    """The int8 arrays of a file, by layer."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {name: array for name, array in arrays.items() if array.dtype == np.int8 and array.any()}


class Evaluation:
    """Evaluates a file of :func:`insight.export.qdq.to_qdq`.

    Attributes
    ----------
    clipped : dict of str to int
        Pairs that saturated, by layer.
    differing : dict of str to int
        Sums that differ from the exact ones, by layer.
    """

    def __init__(self, model, saturate):
        self._model, self._saturate = model, saturate
        self._arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.clipped, self.differing = {}, {}

    def __call__(self, images):
        self._values = {**self._arrays, self._model.graph.input[0].name: images.astype(np.float64)}
        self._stored = {}  # output of a DequantizeLinear: (stored numbers, scale, zero point)
        for node in self._model.graph.node:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            inputs = [self._values[name] for name in node.input]
            self._values[node.output[0]] = getattr(self, node.op_type)(node, inputs, **attributes)
        return self._values[self._model.graph.output[0].name]

    def Sub(self, _, inputs):
        return inputs[0] - inputs[1]

    def Mul(self, _, inputs):
        return inputs[0] * inputs[1]

    def Add(self, _, inputs):
        return inputs[0] + inputs[1]

    def Sum(self, _, inputs):
        return sum(inputs)

    def PRelu(self, _, inputs):
        return np.where(inputs[0] < 0, inputs[0] * inputs[1], inputs[0])

    def Clip(self, _, inputs):
        return np.maximum(inputs[0], inputs[1])

    def Flatten(self, _, inputs, axis):
        assert axis == 1
        return inputs[0].reshape(len(inputs[0]), -1)

    def QuantizeLinear(self, _, inputs):
        values, scale, zero = inputs
        return np.clip(np.rint(values / np.float64(scale)) + zero, 0, 255).astype(np.uint8)

    def DequantizeLinear(self, node, inputs, axis=None):
        stored, scale, zero = (*inputs, np.int32(0))[:3]
        self._stored[node.output[0]] = stored, scale, zero
        across = (-1, *[1] * (stored.ndim - 1)) if axis == 0 else ()
        return (stored.astype(np.float64) - np.reshape(zero, across)) * np.reshape(scale.astype(np.float64), across)

    def Gemm(self, node, inputs, transB, **_):
        assert transB == 1
        data, scale, zero = self._stored[node.input[0]]
        weight, weight_scale, _ = self._stored[node.input[1]]
        sums = self._sums(node, data, weight.T, zero)
        return sums * (np.float64(scale) * weight_scale) + inputs[2]

    def Conv(self, node, inputs, kernel_shape, strides=(1, 1), pads=(0, 0, 0, 0), group=1, **_):
        data, scale, zero = self._stored[node.input[0]]
        weight, weight_scale, _ = self._stored[node.input[1]]
        data = np.pad(data, ((0, 0), (0, 0), pads[::2], pads[1::2]), constant_values=zero)
        windows = np.lib.stride_tricks.sliding_window_view(data, tuple(kernel_shape), axis=(2, 3))
        windows = windows[:, :, :: strides[0], :: strides[1]]
        count, _, height, width = windows.shape[:4]
        windows = windows.transpose(0, 2, 3, 4, 5, 1)  # neighbours are channels, as runtimes lay them out
        sums = []
        for part, rows in zip(np.split(windows, group, axis=-1), np.split(weight, group)):
            left = part.reshape(count * height * width, -1)
            right = rows.transpose(2, 3, 1, 0).reshape(left.shape[1], -1)
            sums.append(self._sums(node, left, right, zero, depthwise=weight.shape[1] == 1))
        real = np.concatenate(sums, axis=1) * (np.float64(scale) * weight_scale) + (inputs[2] if len(inputs) > 2 else 0)
        return real.reshape(count, height, width, -1).transpose(0, 3, 1, 2)

    def _sums(self, node, left, right, zero, depthwise=False):
        """Sums of (stored - zero) times weights. Runtimes multiply the stored values, then subtract zero * weights."""
        sums = exact(left, right)
        if self._saturate and not depthwise:  # those are added in 32 bits
            found, clipped = saturating(left, right)
            self.clipped[node.name] = self.clipped.get(node.name, 0) + clipped
            self.differing[node.name] = self.differing.get(node.name, 0) + int((found != sums).sum())
            sums = found
        return sums - int(zero) * right.astype(np.int64).sum(axis=0)
