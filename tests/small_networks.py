"""Small networks with everything that the real ones have, and arrays that leave nothing at its default."""

import numpy as np

from insight._mxnet import mx
from insight.graph.nodes import Graph, GraphModel

S = mx.sym


def pixels(data):
    return (data - 127.5) * 0.0078125


def unit(x, name, filters, kernel=1, stride=1, pad=0, group=1, act=True, **norm):
    """Convolution, batch norm with the operator's own eps, PReLU: MobileFaceNet's brick."""
    options = {"num_filter": filters, "kernel": (kernel,) * 2, "stride": (stride,) * 2, "pad": (pad,) * 2}
    x = S.Convolution(x, num_group=group, no_bias=True, name=f"{name}_conv2d", **options)
    x = S.BatchNorm(x, name=f"{name}_batchnorm", **{"fix_gamma": False, **norm})
    return S.LeakyReLU(x, act_type="prelu", name=f"{name}_relu") if act else x


def mobile(embedding=6):
    """A MobileFaceNet of three blocks: depthwise layers, an identity sum, a global depthwise head."""
    x = pixels(S.Variable("data"))
    x = unit(x, "conv_1", 4, 3, 4, 1)
    x = unit(x, "conv_2_dw", 4, 3, 1, 1, group=4)
    for name, stride in (("down", 2), ("res", 1)):
        y = unit(x, f"{name}_sep", 8)
        y = unit(y, f"{name}_dw", 8, 3, stride, 1, group=8, fix_gamma=True)
        y = unit(y, f"{name}_proj", 4, act=False)
        x = x + y if stride == 1 else y
    x = unit(x, "conv_6sep", 8)
    x = unit(x, "conv_6dw", 8, 14, group=8, act=False)
    x = S.FullyConnected(x, num_hidden=embedding, name="pre_fc1")
    return S.BatchNorm(x, eps=2e-5, fix_gamma=True, name="fc1")


def residual(embedding=6, squeeze=True):
    """An LResNet-IR of two units: pre-activation batch norm before padding, SE, the BN-Dropout-FC-BN head."""

    def norm(x, name, **more):
        return S.BatchNorm(x, eps=2e-5, name=name, **{"fix_gamma": False, **more})

    def conv(x, name, filters, kernel=3, stride=1, **more):
        pad = (kernel // 2,) * 2
        more = {"no_bias": True, **more}
        return S.Convolution(
            x, num_filter=filters, kernel=(kernel,) * 2, stride=(stride,) * 2, pad=pad, name=name, **more
        )

    def prelu(x, name):
        return S.LeakyReLU(x, act_type="prelu", name=name)

    x = S.identity(S.Variable("data"), name="id")
    x = prelu(norm(conv(pixels(x), "conv0", 4, stride=4), "bn0"), "relu0")
    for name, stride, filters in (("unit1_", 2, 6), ("unit2_", 1, 6)):
        y = conv(norm(x, name + "bn1"), name + "conv1", filters)
        y = prelu(norm(y, name + "bn2"), name + "relu1")
        y = norm(conv(y, name + "conv2", filters, stride=stride), name + "bn3")
        if squeeze:
            s = S.Pooling(y, kernel=(7, 7), global_pool=True, pool_type="avg", name=name + "se_pool")
            s = prelu(conv(s, name + "se_conv1", 2, 1, no_bias=False), name + "se_relu1")
            s = S.Activation(conv(s, name + "se_conv2", filters, 1, no_bias=False), act_type="sigmoid")
            y = S.broadcast_mul(y, s)
        x = y + (x if stride == 1 else norm(conv(x, name + "conv1sc", filters, 1, stride), name + "sc"))
    x = S.Dropout(norm(x, "bn1"), p=0.4, name="dropout")
    return norm(S.FullyConnected(x, num_hidden=embedding, name="pre_fc1"), "fc1", fix_gamma=True)


def training(embedding, classes=5):
    """InsightFace's training graph around an embedding: margin on fc7 by one_hot, two outputs, a label."""
    label = S.Variable("softmax_label")
    weight = S.L2Normalization(S.Variable("fc7_weight", shape=(classes, 6)), mode="instance")
    unit_length = S.L2Normalization(embedding, mode="instance", name="fc1n")
    fc7 = S.FullyConnected(unit_length * 64, weight=weight, no_bias=True, num_hidden=classes, name="fc7")
    fc7 = fc7 - S.one_hot(label, depth=classes, on_value=0.35, off_value=0.0) * 64
    return S.Group([S.BlockGrad(embedding), S.SoftmaxOutput(fc7, label, name="softmax", normalization="valid")])


def filled(symbol, seed=0, size=112, **extra_shapes):
    """(symbol, arg_params, aux_params): slopes -1.5..2.4, an exact 1 among them, statistics away from 0 and 1, and
    gammas that are not one even where ``fix_gamma`` makes the network ignore them."""
    draw = np.random.default_rng(seed)
    arguments, _, auxiliary = symbol.infer_shape(data=(1, 3, size, size), **extra_shapes)
    arg_params, aux_params = {}, {}
    for name, shape in zip(symbol.list_arguments(), arguments):
        if name == "data" or name in extra_shapes:
            continue
        if name.endswith("weight"):
            value = draw.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        elif "relu" in name:
            value = draw.uniform(-1.5, 2.4, shape)
            value[0], value[-1] = 1.0, 2.4
        elif name.endswith("gamma"):
            value = draw.uniform(0.4, 2.5, shape) * draw.choice([-1, 1], shape)
        else:
            value = draw.normal(0, 0.3, shape)
        arg_params[name] = mx.nd.array(value)
    for name, shape in zip(symbol.list_auxiliary_states(), auxiliary):
        value = draw.uniform(0.3, 2.5, shape) if name.endswith("var") else draw.normal(0, 0.4, shape)
        aux_params[name] = mx.nd.array(value)
    return symbol, arg_params, aux_params


def model_of(symbol, size):
    """As nodes, with arrays of zeros, shaped for images of (height, width) ``size``."""
    arguments, _, auxiliary = symbol.infer_shape(data=(1, 3, *size))
    names = symbol.list_arguments() + symbol.list_auxiliary_states()
    shapes = dict(zip(names, arguments + auxiliary))
    return GraphModel(Graph.from_symbol(symbol), {n: np.zeros(s, np.float32) for n, s in shapes.items() if n != "data"})


def evaluate(symbol, arg_params, aux_params, images):
    """What plain MXNet makes of it: bind, copy, forward; every array must be used."""
    executor = symbol.simple_bind(mx.cpu(), data=images.shape, grad_req="null")
    executor.copy_params_from(arg_params, aux_params)
    return executor.forward(is_train=False, data=mx.nd.array(images))[0].asnumpy()


def images(count=3, size=112, seed=7):
    """(N, 3, size, size) float32, 0..255."""
    return np.random.default_rng(seed).uniform(0, 255, (count, 3, size, size)).astype(np.float32)


def far(a, b):
    """Largest difference, relative to the largest value."""
    return float(np.abs(a - b).max() / np.abs(a).max())
