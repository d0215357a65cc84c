"""The training forms of PReLU against MXNet's own operator, run op by op, and against plain NumPy."""

import numpy as np
import pytest

from insight import nets
from insight._mxnet import mx
from insight.errors import InsightError
from insight.nets.layers import ConvUnit, PReLU, forward_all

SLOPES = np.array([-1.5, -0.6, -0.1, 0.0, 0.25, 0.9, 1.3, 2.4])  # both sides of 0 and of 1


def chain(prelu):
    """A full convolution, a depthwise one and a third without activation, as in a bottleneck."""

    class Chain(mx.gluon.HybridBlock):
        def __init__(self):
            super().__init__(prefix="")
            with self.name_scope():
                self.a = ConvUnit("a_", 3, 8, 3, 2, 1, prelu=prelu)
                self.b = ConvUnit("b_", 8, 8, 3, 1, 1, groups=8, prelu=prelu)
                self.c = ConvUnit("c_", 8, 5, act=False)

        def hybrid_forward(self, F, x):
            return forward_all((self.a, self.b, self.c), x)[0]

    return Chain()


def trained_once(prelu, hybridize, arrays, x, weight):
    net = chain(prelu)
    net.initialize()
    params = {name: p for name, p in net.collect_params().items() if "unused" not in name}
    assert sorted(params) == sorted(arrays)
    for name, p in params.items():
        p.set_data(mx.nd.array(arrays[name]))
    if hybridize:
        net.hybridize(static_alloc=True, static_shape=True)
    x.attach_grad()
    with mx.autograd.record():
        out = net(x)
        loss = (out * weight).sum()
    loss.backward()
    grads = {name: p.grad().asnumpy() for name, p in params.items() if p.grad_req != "null"}
    return out.asnumpy(), {**grads, "x": x.grad.asnumpy()}, {name: p.data().asnumpy() for name, p in params.items()}


@pytest.mark.parametrize("hybridize", [False, True])
@pytest.mark.parametrize("prelu", ["batchnorms", "batchnorms_apart", "relus"])
def test_equals_leaky_relu(prelu, hybridize):
    draw = np.random.default_rng(7)
    net = chain("plain")
    net.initialize()
    arrays = {name: draw.normal(0, 0.5, p.shape) for name, p in net.collect_params().items()}
    for name in arrays:
        if name.endswith("moving_var"):
            arrays[name] = draw.uniform(0.5, 2, arrays[name].shape)
        if name.endswith("relu_gamma"):
            arrays[name] = SLOPES
    x = mx.nd.array(draw.normal(0, 1, (6, 3, 12, 12)))
    weight = mx.nd.array(draw.normal(0, 1, (6, 5, 6, 6)))
    # The reference runs op by op: hybridised, MXNet 1.9.1 may let LeakyReLU overwrite its input and then
    # takes the slope's gradient from its own output.
    out, grads, after = trained_once("plain", False, arrays, x, weight)
    new_out, new_grads, new_after = trained_once(prelu, hybridize, arrays, x, weight)
    np.testing.assert_allclose(new_out, out, rtol=0, atol=1e-5 * np.abs(out).max())
    for name, grad in grads.items():
        np.testing.assert_allclose(new_grads[name], grad, rtol=0, atol=1e-5 * np.abs(grad).max(), err_msg=name)
    for name, array in after.items():
        np.testing.assert_allclose(new_after[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
    assert any(not np.allclose(after[n], arrays[n]) for n in after if "moving" in n)  # the step did move them


@pytest.mark.parametrize("shape", [(4, 8, 9, 7), (3, 8, 1, 1)])
def test_relus_against_the_definition(shape):
    draw = np.random.default_rng(3)
    z, dy = draw.normal(0, 1, shape), draw.normal(0, 1, shape)
    a = SLOPES.reshape(1, -1, 1, 1)
    layer = PReLU("relu", 8, "relus")
    layer.initialize()
    layer.slope.set_data(mx.nd.array(SLOPES))
    layer.hybridize(static_alloc=True, static_shape=True)
    x = mx.nd.array(z)
    x.attach_grad()
    with mx.autograd.record():
        out = layer(x)
    out.backward(mx.nd.array(dy))

    def close(got, want):
        np.testing.assert_allclose(got.asnumpy(), want, rtol=0, atol=1e-6 * np.abs(want).max())

    close(out, np.where(z > 0, z, a * z))
    close(x.grad, np.where(z > 0, dy, a * dy))
    close(layer.slope.grad(), (np.minimum(z, 0) * dy).sum(axis=(0, 2, 3)))


@pytest.mark.parametrize(
    "name, output, side, options",
    [
        ("y1", "GDC", 112, {}),
        ("y2", "GDC", 112, {}),
        ("y1", "J", 48, {}),
        ("y1", "J", 48, {"version_se": 1}),
        ("y1", "J", 48, {"version_eca": 1}),
        ("r18", "J", 48, {}),
    ],
)
def test_every_form_trains_the_same_network(name, output, side, options):
    """Whole networks, after a forward pass in training mode: batch statistics, and signs passed on."""
    family = nets.family(name)
    assert family.fastest_prelu in family.PRELU_FORMS
    x = mx.nd.array(np.random.default_rng(1).uniform(0, 255, (3, 3, side, side)))
    results = []
    for prelu in family.PRELU_FORMS:
        network = nets.create(name, 16, prelu=prelu, version_output=output, image_size=(side, side), **options)
        mx.random.seed(3)
        network.initialize(mx.init.Xavier(**network.xavier))
        draw = np.random.default_rng(5)
        for key, p in sorted(network.kept().items()):
            if p.grad_req != "null" and key.endswith("_gamma") and "relu" in key:
                p.set_data(mx.nd.array(draw.uniform(-0.5, 1.6, p.shape)))
            elif key.endswith("_weight"):
                p.set_data(mx.nd.array(draw.normal(0, (2 / np.prod(p.shape[1:])) ** 0.5, p.shape)))
        network.hybridize(static_alloc=True, static_shape=True)
        with mx.autograd.record():
            results.append(network(x).asnumpy())
        assert sorted(network.kept()) == sorted(network.plain().collect_params().keys())
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=0, atol=2e-3 * np.abs(results[0]).max())


def test_a_form_that_a_family_lacks():
    with pytest.raises(InsightError, match="LResNet18 has no PReLU form 'batchnorms'; it has: plain, relus"):
        nets.create("r18", prelu="batchnorms")
