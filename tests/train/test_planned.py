"""The plan of a training step against arithmetic by hand, and against what MXNet allocates."""

import ctypes
import subprocess
import sys
from textwrap import dedent

import pytest

from insight import nets
from insight._mxnet import mx
from insight.train import precision
from insight.train.planned import inference, plan

sym = mx.sym
K = 1000  # numbers in a row of the graphs below
ROW = 4 * K  # bytes


def data():
    return sym.Variable("data")


def dense(x, name, width=K):
    return sym.FullyConnected(x, num_hidden=width, no_bias=True, name=name)


class TestForward:
    def test_what_the_backward_pass_reads_is_kept(self):
        x = data()
        for i in range(5):  # each layer reads its input again for its weight's gradient
            x = dense(x, f"fc{i}")
        assert plan(x, (2, K)).forward == 5 * 2 * ROW
        assert inference(x, (2, K)) == 2 * 2 * ROW  # two take turns

    def test_in_place(self):
        x = dense(data(), "fc0")
        for _ in range(5):
            x = x * 2 + 1
        x = sym.Activation(x, act_type="relu")
        assert plan(x, (1, K)).forward == ROW

    def test_not_in_place_where_another_reads(self):
        x = dense(data(), "fc0")
        assert plan((x * 2) + x, (1, K)).forward == 2 * ROW

    def test_products_keep_both(self):
        x, y = dense(data(), "fc0"), dense(data(), "fc1")
        assert plan(x * y, (1, K)).forward == 3 * ROW
        assert plan(x + y, (1, K)).forward == 2 * ROW

    def test_a_block_grows_or_serves_smaller_arrays(self):
        x = dense(dense(data(), "fc0", K), "fc1", K // 10)
        assert inference(dense(x, "fc2", K // 10), (1, K)) == ROW + ROW // 10
        x = dense(dense(dense(data(), "fc0", K // 4), "fc1", K // 8), "fc2", K)
        assert inference(x, (1, K)) == ROW + ROW // 8
        assert inference(dense(dense(dense(data(), "a", K), "b", K), "c", K // 100), (1, K)) == 2 * ROW + ROW // 100

    def test_no_gradient_no_keeping(self):
        x = sym.BlockGrad(dense(dense(data(), "fc0"), "fc1"))
        assert plan(x, (1, K)).forward == 2 * ROW and plan(x, (1, K)).backward == 0
        x = data()
        for i in range(4):  # nothing learns before the layer
            x = sym.Activation(x - i, act_type="relu")
        assert plan(dense(x, "fc"), (1, K)).forward == 2 * ROW

    def test_masks_and_workspaces(self):
        x = sym.Dropout(dense(data(), "fc0"))
        assert plan(x, (1, K)).workspaces == ROW
        x = sym.contrib.BatchNormWithReLU(dense(data(), "fc0"), name="bn")
        found = plan(x, (1, K))
        assert (found.forward, found.workspaces, found.largest) == (2 * ROW, ROW // 32, ROW)
        assert found.total == found.forward + found.backward + found.workspaces


class TestBackward:
    def test_a_chain(self):
        x = dense(data(), "fc0")
        assert plan(x, (1, K)).backward == 0  # the images need no gradient, the weights have one of their own
        for i in range(1, 6):
            x = dense(x, f"fc{i}")
        assert plan(x, (1, K)).backward == 2 * ROW

    def test_branches_are_added_up(self):
        x = dense(data(), "fc0")
        y = dense(x, "a") + dense(x, "b") + dense(x, "c")
        assert 3 * ROW <= plan(y, (1, K)).backward <= 5 * ROW


def test_half_precision_takes_half():
    network = nets.create("r18", 64, prelu="relus")(data())
    full, half = (plan(precision.lowered_symbol(network, d), (4, 3, 112, 112)) for d in ("float32", "bfloat16"))
    assert 0.5 < half.total / full.total < 0.75


class TestCopies:
    """Operators that are not oneDNN's read feature maps that are: a copy each."""

    MAP = 4 * 8 * 6 * 6  # bytes

    def conv(self, x, name="conv"):
        return sym.Convolution(x, num_filter=8, kernel=(1, 1), no_bias=True, name=name)

    def copies(self, x):
        return plan(x, (1, 8, 6, 6)).copies

    def test_where_there_are_none(self):
        x = self.conv(data() * 2)  # the images come in plain order, and need no gradient
        x = sym.Activation(sym.BatchNorm(x), act_type="relu")
        x = sym.Pooling(x + self.conv(x, "conv2"), kernel=(2, 2), stride=(2, 2))
        assert self.copies(sym.FullyConnected(x, num_hidden=4)) == 0
        assert self.copies(sym.sigmoid(data())) == 0

    def test_one_to_read_one_for_the_gradient(self):
        x = self.conv(data())
        assert self.copies(x * 2) == self.MAP
        assert self.copies(sym.clip(x, 0, 6)) == 2 * self.MAP  # its backward pass reads the map again
        assert self.copies(self.conv(sym.clip(x, 0, 6), "conv2")) == 3 * self.MAP


MEASURE = """
    import ctypes, sys
    from insight import nets
    from insight._mxnet import keep_freed_memory, mx
    from insight.train.planned import plan

    class Info(ctypes.Structure):
        _fields_ = [(name, ctypes.c_size_t) for name in "a b c d e f g in_use i j".split()]
    info = ctypes.CDLL(None).mallinfo2
    info.restype = Info

    def step(part):
        network.hybridize(static_alloc=True, static_shape=True)  # a new graph; the old one's arrays are freed
        with mx.autograd.record():
            embedding = network(part)
        embedding.backward()
        mx.nd.waitall()
        return info().in_use

    name, batch, options = sys.argv[1], int(sys.argv[2]), dict.fromkeys(sys.argv[3:], 1)
    keep_freed_memory()
    network = nets.create(name, 64, prelu=nets.family(name).fastest_prelu, **options)
    network.initialize(mx.init.Xavier())
    data = mx.nd.ones((batch, 3, 112, 112))
    step(data), step(data[:1])  # scratch memory and kernels of either size
    grown = step(data) - step(data[:1])
    symbol = network(mx.sym.Variable("data"))
    whole, one = (plan(symbol, (count, 3, 112, 112)) for count in (batch, 1))
    unused = 31 * (whole.workspaces - one.workspaces)  # allocated and not written to
    print(whole.total - one.total + unused, grown)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="the C library is not glibc 2.33 or newer")
@pytest.mark.parametrize(
    "name, options",
    [
        ("y1", ()),
        ("y1", ("version_se",)),
        ("y1", ("version_eca",)),
        ("r18", ()),
        ("gluoncv:mobilenetv3_small", ()),
    ],
)
def test_mxnet_allocates_what_is_planned(name, options):
    command = [sys.executable, "-c", dedent(MEASURE), name, "6", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    planned, allocated = map(int, done.stdout.split())
    tolerance = 0.25 if name.startswith("gluoncv") else 0.06  # oneDNN pads channels to a multiple of 8 or 16
    if name == "y1" and options:
        tolerance = 0.08  # not all of attention's maps have the copies that are planned
    assert abs(planned / allocated - 1) < tolerance, (planned, allocated)
