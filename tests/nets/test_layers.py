"""The fast training form of PReLU against MXNet's own operator."""

import numpy as np
import pytest

from insight._mxnet import mx
from insight.nets.layers import ConvUnit, forward_all


def chain(fast: bool):
    """A full convolution, a depthwise one and a last one without activation, as in a bottleneck."""

    class Chain(mx.gluon.HybridBlock):
        def __init__(self):
            super().__init__(prefix="")
            with self.name_scope():
                self.a = ConvUnit("a_", 3, 8, 3, 2, 1, fast_prelu=fast)
                self.b = ConvUnit("b_", 8, 8, 3, 1, 1, groups=8, fast_prelu=fast)
                self.c = ConvUnit("c_", 8, 5, act=False, fast_prelu=fast)

        def hybrid_forward(self, F, x):
            return forward_all((self.a, self.b, self.c), x)[0]

    return Chain()


def trained_once(fast: bool, hybridize: bool, arrays: dict, x, weight):
    net = chain(fast)
    net.initialize()
    params = {name: p for name, p in net.collect_params().items() if "unused" not in name}
    assert sorted(params) == sorted(arrays)
    for name, p in params.items():
        p.set_data(mx.nd.array(arrays[name]))
    if hybridize:
        net.hybridize(static_alloc=True, static_shape=True)
    with mx.autograd.record():
        out = net(x)
        loss = (out * weight).sum()
    loss.backward()
    grads = {name: p.grad().asnumpy() for name, p in params.items() if p.grad_req != "null"}
    return out.asnumpy(), grads, {name: p.data().asnumpy() for name, p in params.items()}


@pytest.mark.parametrize("hybridize", [False, True])
def test_fast_prelu_equals_leaky_relu(hybridize):
    draw = np.random.default_rng(7)
    net = chain(False)
    net.initialize()
    arrays = {name: draw.normal(0, 0.5, p.shape) for name, p in net.collect_params().items()}
    for name in arrays:
        if name.endswith("moving_var"):
            arrays[name] = draw.uniform(0.5, 2, arrays[name].shape)
        if name.endswith("relu_gamma"):
            arrays[name] = np.array([-1.5, -0.6, -0.1, 0.0, 0.25, 0.9, 1.3, 2.4])  # both sides of 0 and of 1
    x = mx.nd.array(draw.normal(0, 1, (6, 3, 12, 12)))
    weight = mx.nd.array(draw.normal(0, 1, (6, 5, 6, 6)))
    # The reference runs op by op: hybridised, MXNet 1.9.1 may let LeakyReLU overwrite its input and then
    # takes the slope's gradient from its own output.
    out, grads, after = trained_once(False, False, arrays, x, weight)
    fast_out, fast_grads, fast_after = trained_once(True, hybridize, arrays, x, weight)
    np.testing.assert_allclose(fast_out, out, rtol=1e-4, atol=1e-5)
    for name, grad in grads.items():
        np.testing.assert_allclose(
            fast_grads[name], grad, rtol=2e-4, atol=2e-4 * np.abs(grad).max() + 1e-5, err_msg=name
        )
    for name, array in after.items():
        np.testing.assert_allclose(fast_after[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
    assert any(not np.allclose(after[n], arrays[n]) for n in after if "moving" in n)  # the step did move them
