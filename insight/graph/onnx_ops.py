"""One ONNX translation per MXNet operator of our networks and InsightFace's. Opset 13.

A translation takes the node and the :class:`Writer`, and appends ONNX nodes. Comments describe where the two
standards differ. Operators that are the identity at inference (Dropout, BlockGrad, _copy) have no translation:
:func:`insight.graph.fold.drop_identities` removes them beforehand.
"""

from __future__ import annotations

from typing import Callable, Dict

import numpy as np

from .nodes import BATCH_NORM_EPS, Node
from .onnx_writer import NoTranslation, Writer

TRANSLATIONS: Dict[str, Callable[[Writer, Node], None]] = {}


def translates(*operators: str) -> Callable:
    """Decorator: register a translation under MXNet's names for the operator."""

    def add(translation: Callable) -> Callable:
        for operator in operators:
            TRANSLATIONS[operator] = translation
        return translation

    return add


def translate(writer: Writer, node: Node) -> None:
    """Append the ONNX nodes of one MXNet node.

    Raises
    ------
    NoTranslation
        The operator, or an option of it, has no translation.
    """
    translation = TRANSLATIONS.get(node.op)
    if translation is None:
        known = ", ".join(sorted(name for name in TRANSLATIONS if not name.startswith("_")))
        raise NoTranslation(f"operator {node.op} at node {node.name!r} has no ONNX translation; known: {known}")
    translation(writer, node)


def unsupported(node: Node, what: str) -> NoTranslation:
    """The error for an option that a translation does not support."""
    return NoTranslation(f"operator {node.op} at node {node.name!r}: {what} has no ONNX translation here")


@translates("Convolution")
def convolution(writer: Writer, node: Node) -> None:
    kernel = node.shape("kernel")
    if len(kernel) != 2 or node.text("layout", "None") not in ("None", "NCHW"):
        raise unsupported(node, "other than two-dimensional NCHW convolution")
    inputs = [writer.edge(ref) for ref in (node.inputs[:2] if node.flag("no_bias", False) else node.inputs[:3])]
    pad = node.shape("pad", (0, 0))
    writer.emit(
        "Conv",
        node,
        inputs,
        kernel_shape=kernel,
        strides=node.shape("stride", (1, 1)),
        dilations=node.shape("dilate", (1, 1)),
        pads=pad + pad,
        group=int(node.number("num_group", 1)),
    )


@translates("FullyConnected")
def fully_connected(writer: Writer, node: Node) -> None:
    """Flatten and Gemm with static shapes; MXNet's own exporter writes a chain of Shape, Slice and Reshape."""
    if not node.flag("flatten", True) and writer.ranks[node.inputs[0]] != 2:
        raise unsupported(node, "flatten=False on more than two axes")
    inputs = [writer.edge(ref) for ref in (node.inputs[:2] if node.flag("no_bias", False) else node.inputs[:3])]
    if writer.ranks[node.inputs[0]] != 2:
        flat = f"{node.name}_flat"
        inputs[0] = writer.emit("Flatten", node, [inputs[0]], name=flat, output=flat, axis=1)
    writer.emit("Gemm", node, inputs, transB=1)


@translates("BatchNorm")
def batch_norm(writer: Writer, node: Node) -> None:
    """With ``fix_gamma``, gamma is one whatever array is stored, a rule that MXNet's own exporter ignores."""
    if node.number("axis", 1) != 1:
        raise unsupported(node, f"axis={node.text('axis')}")
    data, gamma, *rest = node.inputs[:5]
    if node.flag("fix_gamma", True):
        scale = writer.constant(f"{node.name}_fixed_gamma", np.ones_like(writer.parameter(gamma, node)))
    else:
        scale = writer.edge(gamma)
    inputs = [writer.edge(data), scale, *map(writer.edge, rest)]
    writer.emit("BatchNormalization", node, inputs, epsilon=float(node.number("eps", BATCH_NORM_EPS)))


@translates("LeakyReLU")
def leaky_relu(writer: Writer, node: Node) -> None:
    """A slope per channel is (C, 1, 1) in ONNX, because it broadcasts from the last axis."""
    kind = node.text("act_type", "leaky")
    if kind == "prelu":
        slope = writer.parameter(node.inputs[1], node)
        axes = writer.ranks[node.inputs[0]] - 2
        shape = slope.shape if slope.size == 1 else (*slope.shape, *[1] * axes)
        inputs = [writer.edge(node.inputs[0]), writer.constant(node.inputs[1].node.name, slope.reshape(shape))]
        writer.emit("PRelu", node, inputs)
    elif kind == "leaky":
        writer.emit("LeakyRelu", node, [writer.edge(node.inputs[0])], alpha=float(node.number("slope", 0.25)))
    elif kind == "elu":
        writer.emit("Elu", node, [writer.edge(node.inputs[0])], alpha=float(node.number("slope", 0.25)))
    else:
        raise unsupported(node, f"act_type={kind}")


ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softrelu": "Softplus", "softsign": "Softsign"}


@translates("Activation", "relu", "sigmoid", "tanh")
def activation(writer: Writer, node: Node) -> None:
    kind = node.text("act_type") if node.op == "Activation" else node.op
    if kind not in ACTIVATIONS:
        raise unsupported(node, f"act_type={kind}")
    writer.emit(ACTIVATIONS[kind], node, [writer.edge(node.inputs[0])])


@translates("clip")
def clip(writer: Writer, node: Node) -> None:
    bounds = [writer.constant(f"{node.name}_{end}", np.float32(node.number(f"a_{end}"))) for end in ("min", "max")]
    writer.emit("Clip", node, [writer.edge(node.inputs[0]), *bounds])


@translates("Flatten", "flatten")
def flatten(writer: Writer, node: Node) -> None:
    writer.emit("Flatten", node, [writer.edge(node.inputs[0])], axis=1)


@translates("Reshape", "reshape")
def reshape(writer: Writer, node: Node) -> None:
    """In both standards 0 keeps a dimension and -1 is inferred; MXNet's other codes have no counterpart."""
    shape = node.shape("shape")
    if not shape or min(shape) < -1 or node.flag("reverse", False):
        raise unsupported(node, f"shape={node.text('shape')}")
    sizes = writer.constant(f"{node.name}_shape", np.array(shape, np.int64))
    writer.emit("Reshape", node, [writer.edge(node.inputs[0]), sizes])


@translates("Concat", "concat")
def concat(writer: Writer, node: Node) -> None:
    writer.emit("Concat", node, [writer.edge(ref) for ref in node.inputs], axis=int(node.number("dim", 1)))


@translates("sqrt")
def sqrt(writer: Writer, node: Node) -> None:
    writer.emit("Sqrt", node, [writer.edge(node.inputs[0])])


@translates("sum", "mean")
def reduction(writer: Writer, node: Node) -> None:
    """Without an axis MXNet gives shape (1,) and ONNX a scalar; the following operators broadcast either."""
    if node.flag("exclude", False):
        raise unsupported(node, "exclude=True")
    axes, keep = node.shape("axis"), int(node.flag("keepdims", False))
    inputs = [writer.edge(node.inputs[0])]
    if node.op == "mean":  # its axes are an input only from opset 18
        writer.emit("ReduceMean", node, inputs, keepdims=keep, **({"axes": axes} if axes else {}))
        return
    if axes:
        inputs.append(writer.constant(f"{node.name}_axes", np.array(axes, np.int64)))
    writer.emit("ReduceSum", node, inputs, keepdims=keep)


@translates("tile")
def tile(writer: Writer, node: Node) -> None:
    repeats = node.shape("reps")
    if len(repeats) != writer.ranks[node.inputs[0]]:
        raise unsupported(node, "a number of repeats that is not the number of axes")
    inputs = [writer.edge(node.inputs[0]), writer.constant(f"{node.name}_repeats", np.array(repeats, np.int64))]
    writer.emit("Tile", node, inputs)


@translates("slice_axis")
def slice_axis(writer: Writer, node: Node) -> None:
    end = node.value("end")
    bounds = {"begin": node.number("begin"), "end": np.iinfo(np.int64).max if end is None else end}
    bounds["axis"] = node.number("axis")
    inputs = [writer.constant(f"{node.name}_{key}", np.array([value], np.int64)) for key, value in bounds.items()]
    writer.emit("Slice", node, [writer.edge(node.inputs[0]), *inputs])


ELEMENTWISE = {
    "Add": ("elemwise_add", "broadcast_add", "broadcast_plus", "_Plus", "_plus", "_add"),
    "Sub": ("elemwise_sub", "broadcast_sub", "broadcast_minus", "_Minus", "_minus", "_sub"),
    "Mul": ("elemwise_mul", "broadcast_mul", "_Mul", "_mul"),
    "Div": ("elemwise_div", "broadcast_div", "_Div", "_div"),
    "Sum": ("add_n", "ElementWiseSum", "_sum"),
}
ONNX_ELEMENTWISE = {name: operator for operator, names in ELEMENTWISE.items() for name in names}


@translates(*ONNX_ELEMENTWISE)
def elementwise(writer: Writer, node: Node) -> None:
    """Translate an elementwise operator; a projected shortcut is added by Sum.

    cv2.dnn (4.8 to 4.11) fuses an Add of two branches, one of which is a batch norm, into its convolution, and returns
    wrong numbers for every batch size after the first.
    """
    operator = ONNX_ELEMENTWISE[node.op]
    if operator == "Add" and any(ref.node.op == "BatchNorm" for ref in node.inputs):
        if all(len(writer.uses[ref.node]) == 1 for ref in node.inputs):
            operator = "Sum"
    writer.emit(operator, node, [writer.edge(ref) for ref in node.inputs])


SCALAR = {
    "_plus_scalar": "Add",
    "_PlusScalar": "Add",
    "_minus_scalar": "Sub",
    "_MinusScalar": "Sub",
    "_mul_scalar": "Mul",
    "_MulScalar": "Mul",
    "_div_scalar": "Div",
    "_DivScalar": "Div",
    "_rminus_scalar": "Sub",
    "_RMinusScalar": "Sub",
    "_rdiv_scalar": "Div",
    "_RDivScalar": "Div",
}


@translates(*SCALAR)
def scalar(writer: Writer, node: Node) -> None:
    """Translate an operation with a scalar, which is the left operand of the ``_r`` operators.

    The name starts with the operator: pip insightface recognises a network that normalises its input by the names Sub
    and Mul among its first nodes.
    """
    operator = SCALAR[node.op]
    number = writer.constant(f"{node.name}_scalar", np.float32(node.number("scalar")))
    inputs = [writer.edge(node.inputs[0]), number]
    if node.op.lower().startswith("_r"):
        inputs.reverse()
    writer.emit(operator, node, inputs, name=f"{operator}_{node.name}")


@translates("Pooling")
def pooling(writer: Writer, node: Node) -> None:
    kind = node.text("pool_type", "max")
    if kind not in ("max", "avg"):
        raise unsupported(node, f"pool_type={kind}")
    inputs = [writer.edge(node.inputs[0])]
    if node.flag("global_pool", False):
        writer.emit("GlobalMaxPool" if kind == "max" else "GlobalAveragePool", node, inputs)
        return
    convention = node.text("pooling_convention", "valid")
    if convention == "same":
        raise unsupported(node, "pooling_convention=same")
    kernel = node.shape("kernel")
    stride = node.shape("stride", (1,) * len(kernel))
    pad = node.shape("pad", (0,) * len(kernel))
    attrs = {"kernel_shape": kernel, "strides": stride}
    if kind == "avg" and convention == "full":
        # With ceil_mode, ONNX Runtime 1.19 to 1.22 divides by the size of the whole window, even if it extends beyond
        # the map. With stride - 1 more pixels of padding at the end, rounding down gives the same number of windows,
        # and padding does not count in the divisor.
        if any(pad) and node.flag("count_include_pad", True):
            raise unsupported(node, "an average with pooling_convention=full over padding that counts")
        behind = tuple(p + s - 1 for p, s in zip(pad, stride))
        writer.emit("AveragePool", node, inputs, pads=pad + behind, count_include_pad=0, **attrs)
        return
    attrs["pads"] = pad + pad
    if convention == "full":
        attrs["ceil_mode"] = 1
    if kind == "avg":
        attrs["count_include_pad"] = int(node.flag("count_include_pad", True))
    writer.emit("MaxPool" if kind == "max" else "AveragePool", node, inputs, **attrs)
