"""Image sizes that fit a network's arrays, against the arithmetic of convolutions."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_networks import S, mobile, model_of, pixels, residual

from insight import nets
from insight.graph.fitting import LARGEST, SMALLEST, WIDEST, fitting_sizes


def fitting(symbol, size):
    return [str(one) for one in fitting_sizes(model_of(symbol, size))]


LAYER = st.tuples(st.sampled_from([1, 2, 3, 5, 7]), st.integers(1, 4), st.integers(0, 3))


def side_after(side, layers):
    """Pixels after (kernel, stride, pad) layers; 0 if the kernel is larger than its input."""
    for kernel, stride, pad in layers:
        if side + 2 * pad < kernel:
            return 0
        side = (side + 2 * pad - kernel) // stride + 1
    return side


@settings(deadline=None, max_examples=30)
@given(
    layers=st.lists(LAYER, min_size=1, max_size=4),
    pooled=st.integers(0, 3),
    size=st.tuples(st.integers(60, 200), st.integers(60, 200)),
    probes=st.lists(st.tuples(st.integers(SMALLEST, LARGEST), st.integers(SMALLEST, LARGEST)), min_size=200),
)
def test_they_are_those_of_the_arithmetic(layers, pooled, size, probes):
    # a pooling does not take more padding than its kernel covers
    layers = [(k, s, min(p, k - 1) if i == pooled else p) for i, (k, s, p) in enumerate(layers)]
    wanted = side_after(size[0], layers) * side_after(size[1], layers)
    assume(wanted)
    x = pixels(S.Variable("data"))
    for number, (kernel, stride, pad) in enumerate(layers):
        options = {"kernel": (kernel,) * 2, "stride": (stride,) * 2, "pad": (pad,) * 2}
        if number == pooled:
            x = S.Pooling(x, pool_type="max", **options)
        else:
            x = S.Convolution(x, num_filter=2, name=f"c{number}", **options)
    symbol = S.FullyConnected(x, num_hidden=3, name="fc1")
    found = fitting_sizes(model_of(symbol, size))
    if max(size) <= WIDEST * min(size):
        assert any(size in one for one in found)
    for height, width in probes:
        fits = side_after(height, layers) * side_after(width, layers) == wanted
        if any((height, width) in one for one in found):
            assert fits, (height, width)
        elif max(height, width) <= WIDEST * min(height, width):
            assert not fits, (height, width)


@pytest.mark.parametrize(
    ("symbol", "size", "rectangles"),
    [
        (mobile(), (112, 112), ["105..112 x 105..112"]),
        (mobile(), (128, 128), ["121..128 x 121..128", "105..112 x 169..176", "169..176 x 105..112"]),
        (residual(), (128, 128), ["121..128 x 121..128"]),
        (S.FullyConnected(S.Variable("data"), num_hidden=2, name="fc1"), (97, 97), ["97x97"]),
        (S.FullyConnected(S.Variable("data"), num_hidden=2, name="fc1"), (97, 101), ["97x101", "101x97"]),
    ],
    ids=["strides", "another product", "one product", "one size", "two sizes"],
)
def test_they_come_in_rectangles_the_squarest_first(symbol, size, rectangles):
    assert fitting(symbol, size) == rectangles


@pytest.mark.parametrize(
    ("name", "options", "size", "rectangles"),
    [
        ("y1", {}, (112, 112), ["97..112 x 97..112"]),
        ("y1", {"version_output": "E"}, (96, 80), ["65..80 x 81..96", "81..96 x 65..80"]),
        ("r18", {}, (104, 104), ["97..112 x 97..112"]),
        ("r18", {}, (144, 144), ["129..144 x 129..144"]),
    ],
)
def test_of_real_networks(name, options, size, rectangles):
    assert fitting(nets.symbol(nets.create(name, 8, image_size=size, **options)), size) == rectangles


def test_a_rectangle_counts_by_its_squarest_size():
    """Of 16..80 x 81..180, 80x81 is nearly square, and 80x180 is not."""
    x = S.Convolution(S.Variable("data"), num_filter=2, kernel=(1, 1), stride=(100, 100), pad=(10, 10), name="c")
    x = S.FullyConnected(x, num_hidden=3, name="fc1")
    assert fitting(x, (80, 81))[:2] == ["16..80 x 81..180", "81..180 x 16..80"]
    assert (80, 81) in fitting_sizes(model_of(x, (80, 81)))[0]


def test_a_network_that_pools_takes_any():
    symbol = nets.symbol(nets.create("r18", 8, version_output="GAP"))
    assert fitting_sizes(model_of(symbol, (112, 112))) is None


def test_arrays_of_another_network_fit_none():
    made = model_of(mobile(embedding=6), (112, 112))
    made.params["pre_fc1_weight"] = np.zeros((6, 9), np.float32)
    assert fitting_sizes(made) == []


def test_one_slope_for_all_channels_fits():
    x = S.Flatten(S.Convolution(S.Variable("data"), num_filter=2, kernel=(3, 3), stride=(4, 4), name="c"))
    x = S.LeakyReLU(x, act_type="prelu", name="relu")
    made = model_of(S.FullyConnected(x, num_hidden=3, name="fc1"), (112, 112))
    made.params["relu_gamma"] = np.zeros(1, np.float32)
    assert next(str(one) for one in fitting_sizes(made)) == "111..114 x 111..114"
