"""Channel attention against plain NumPy, and where MobileFaceNet has it."""

import json

import numpy as np
import pytest

from insight import nets
from insight._mxnet import mx
from insight.errors import InsightError
from insight.nets.attention import EfficientAttention, SqueezeExcite, kernel_size
from insight.nets.layers import Style

KINDS = {"version_se": "se_", "version_eca": "eca_"}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def filled(block):
    """The block with random arrays, and those in float64 by name."""
    draw = np.random.default_rng(2)
    block.initialize()
    arrays = {name: draw.normal(0, 0.7, p.shape) for name, p in block.collect_params().items()}
    for name, p in block.collect_params().items():
        p.set_data(mx.nd.array(arrays[name]))
    return block, arrays


@pytest.fixture
def x():
    return np.random.default_rng(1).normal(0.5, 1, (3, 64, 5, 4))


def close(block, x, want):
    np.testing.assert_allclose(block(mx.nd.array(x)).asnumpy(), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", ["plain", "relus"])
def test_squeeze_and_excitation(x, form):
    block, a = filled(SqueezeExcite("", 64, Style(form)))
    inside = x.mean(axis=(2, 3)) @ a["se_conv1_weight"].reshape(4, 64).T + a["se_conv1_bias"]
    inside = np.where(inside > 0, inside, a["se_relu1_gamma"] * inside)
    factor = sigmoid(inside @ a["se_conv2_weight"].reshape(64, 4).T + a["se_conv2_bias"])
    close(block, x, x * factor[:, :, None, None])


@pytest.mark.parametrize("form", ["plain", "relus"])
def test_efficient_attention(x, form):
    block, arrays = filled(EfficientAttention("", 64, Style(form)))
    (weight,) = (array.ravel() for array in arrays.values())
    means = np.pad(x.mean(axis=(2, 3)), ((0, 0), (1, 1)))  # zeros beyond the ends
    factor = sigmoid(sum(weight[i] * means[:, i : i + 64] for i in range(3)))
    close(block, x, x * factor[:, :, None, None])


@pytest.mark.parametrize("kind", [SqueezeExcite, EfficientAttention])
def test_both_forms_have_the_same_gradients(x, kind):
    """Against the plain form op by op, because MXNet's hybridised PReLU may have wrong gradients (nets.prelu)."""
    results = []
    for form in ("plain", "relus"):
        block, _ = filled(kind("", 64, Style(form)))
        if form != "plain":
            block.hybridize(static_alloc=True, static_shape=True)
        data = mx.nd.array(x)
        data.attach_grad()
        with mx.autograd.record():
            out = block(data)
        out.backward(mx.nd.array(np.random.default_rng(3).normal(0, 1, out.shape)))
        gradients = {name: p.grad().asnumpy() for name, p in block.collect_params().items()}
        results.append({**gradients, "x": data.grad.asnumpy(), "out": out.asnumpy()})
    for name, plain in results[0].items():
        np.testing.assert_allclose(results[1][name], plain, rtol=0, atol=1e-5 * np.abs(plain).max(), err_msg=name)


@pytest.mark.parametrize("channels, size", [(16, 3), (64, 3), (128, 5), (256, 5), (512, 5), (2048, 7)])
def test_kernel_size(channels, size):
    """Odd integers that the published code gives."""
    assert kernel_size(channels) == size


@pytest.mark.parametrize("name, bottlenecks", [("y1", 15), ("y2", 33)])
@pytest.mark.parametrize("option", KINDS)
def test_each_bottleneck_has_one(name, bottlenecks, option):
    """Between the last batch norm and the sum; everything else is the plain network's."""
    nodes = json.loads(nets.symbol(nets.create(name, **{option: 1})).tojson())["nodes"]
    plain = json.loads(nets.symbol(nets.create(name)).tojson())["nodes"]
    scaled = [node for node in nodes if node["op"] == "broadcast_mul"]
    assert len(scaled) == bottlenecks
    for node in scaled:
        unit = node["name"][: -len("broadcast_mul0")]
        below = [nodes[ref[0]]["name"] for ref in node["inputs"]]
        assert below == [f"{unit}conv_proj_batchnorm", f"{unit}{KINDS[option]}sigmoid"]
    own = [node["name"] for node in nodes if KINDS[option] not in node["name"] and node not in scaled]
    assert own == [node["name"] for node in plain]


def test_one_kind_of_attention():
    with pytest.raises(InsightError, match="--version-se 1, --version-eca 1: a network has one kind of attention"):
        nets.create("y1", version_se=1, version_eca=1)
    with pytest.raises(InsightError, match="--version-eca 1: does nothing with LResNet18"):
        nets.create("r18", version_eca=1)
