"""Folded and split networks compute what MXNet computes with the plain one."""

import numpy as np
import pytest
from small_networks import S, evaluate, far, filled, images, mobile, residual

from insight._mxnet import mx
from insight.graph import cut, fold, linear, split
from insight.graph.nodes import GraphModel


def rewritten(symbol, seed=0):
    checkpoint = filled(symbol, seed)
    plain = cut.cut(GraphModel.from_mxnet(*checkpoint))
    folded = fold.fold(plain)
    return checkpoint, plain, folded, split.split(folded, (112, 112))


def operators(model):
    return [node.op for node in model.graph.operators()]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("network", [mobile, residual])
def test_the_same_function(network, seed):
    checkpoint, *models = rewritten(network(), seed)
    x = images(2)
    reference = evaluate(*checkpoint, x)
    for model in models:
        symbol, arg_params, aux_params = model.to_mxnet()
        assert symbol.list_outputs() == ["fc1_output"]
        assert far(reference, evaluate(symbol, arg_params, aux_params, x)) < 2e-5


def test_all_batch_norms_of_mobilefacenet_fold_and_all_prelus_split():
    _, plain, folded, fast = rewritten(mobile())
    assert operators(plain).count("BatchNorm") == 11
    assert "BatchNorm" not in operators(folded)
    assert operators(folded).count("LeakyReLU") == 7
    assert "LeakyReLU" not in operators(fast)


def test_a_batch_norm_before_padding_stays_and_one_before_the_head_does_not():
    _, _, folded, fast = rewritten(residual())
    left = [node.name for node in folded.graph.operators() if node.op == "BatchNorm"]
    assert left == ["unit1_bn1", "unit2_bn1"]
    assert not {"Dropout", "identity", "_copy"} & set(operators(folded))
    # SE's PReLU is on a 1x1 map, where there is nothing to gain
    assert [n.name for n in fast.graph.operators() if n.op == "LeakyReLU"] == ["unit1_se_relu1", "unit2_se_relu1"]


def test_rewriting_leaves_the_given_model_alone():
    checkpoint, plain, folded, _ = rewritten(mobile())
    again = evaluate(*plain.to_mxnet(), images())
    assert far(evaluate(*checkpoint, images()), again) == 0
    assert "LeakyReLU" in operators(folded)


@pytest.mark.parametrize("rows", [1, 5, 64, 65, 200])
@pytest.mark.parametrize("shape", [(7,), (3, 2, 2)])
def test_weights_are_scaled_in_parts_as_whole(rows, shape):
    draw = np.random.default_rng(rows)
    weight = draw.normal(size=(rows, *shape)).astype(np.float32)
    for factor in (draw.normal(size=(rows, *[1] * len(shape))), draw.normal(size=(1, *shape))):
        product = weight.astype(np.float64) * factor
        found = linear.scaled(weight, factor)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, product.astype(np.float32))
        np.testing.assert_array_equal(linear.weighted_sums(weight, factor), product.reshape(rows, -1).sum(axis=1))


def test_fold_against_arithmetic_by_hand():
    """Conv 1x1 with bias, BN at its default eps with gamma fixed, on a 1x1 image: eight numbers, no MXNet."""
    x = S.Convolution(S.Variable("data"), num_filter=2, kernel=(1, 1), name="c")
    model = GraphModel.from_mxnet(*filled(S.BatchNorm(x, name="fc1"), size=1))
    p = {name: array.astype(np.float64) for name, array in model.params.items()}
    folded = fold.fold(model)
    weight, bias = folded.params["c_weight"], folded.params["c_bias"]
    for o in range(2):
        scale = 1.0 / np.sqrt(p["fc1_moving_var"][o] + 0.001)
        for i in range(3):
            assert weight[o, i, 0, 0] == pytest.approx(p["c_weight"][o, i, 0, 0] * scale, rel=1e-6)
        assert bias[o] == pytest.approx((p["c_bias"][o] - p["fc1_moving_mean"][o]) * scale + p["fc1_beta"][o], rel=1e-6)


@pytest.mark.parametrize("pad", [0, 1])
def test_fold_ahead_only_without_padding(pad):
    x = S.BatchNorm(S.Variable("data"), fix_gamma=False, name="bn_data")
    x = S.Convolution(x, num_filter=6, kernel=(3, 3), stride=(9, 9), num_group=3, pad=(pad, pad), name="c")
    checkpoint, _, folded, _ = rewritten(S.FullyConnected(x, num_hidden=4, name="fc1"))
    assert ("BatchNorm" in operators(folded)) == bool(pad)
    x = images(2)
    assert far(evaluate(*checkpoint, x), evaluate(*folded.to_mxnet(), x)) < 2e-5


def test_fold_ahead_through_flatten():
    x = S.Convolution(S.Variable("data"), num_filter=4, kernel=(16, 16), stride=(32, 32), name="c")
    x = S.Flatten(S.BatchNorm(S.Activation(x, act_type="tanh"), fix_gamma=False, name="bn"))
    checkpoint, _, folded, _ = rewritten(S.FullyConnected(x, num_hidden=4, name="fc1"))
    assert "BatchNorm" not in operators(folded)
    assert far(evaluate(*checkpoint, images()), evaluate(*folded.to_mxnet(), images())) < 2e-5


def conv(x, name, **more):
    return S.Convolution(x, **{"num_filter": 3, "kernel": (1, 1), "name": name, **more})


def norm(x, name, **more):
    return S.BatchNorm(x, name=name, **{"fix_gamma": False, **more})


def shared_weight(x):
    weight = S.Variable("shared_weight")
    return norm(conv(x, "a", weight=weight), "na") + norm(conv(x, "b", weight=weight), "nb")


def read_twice(x):
    y = conv(x, "a")
    return norm(y, "na") + y


def norm_after_norm(x):
    return norm(norm(conv(x, "a"), "na"), "nb")


def norm_on_another_axis(x):
    return norm(conv(x, "a"), "na", axis=2)


@pytest.mark.parametrize(
    ("body", "left"), [(shared_weight, 0), (read_twice, 1), (norm_after_norm, 0), (norm_on_another_axis, 1)]
)
def test_odd_neighbours_are_folded_rightly_or_left(body, left):
    network = S.FullyConnected(body(S.Variable("data") / 255), num_hidden=4, name="fc1")
    checkpoint, _, folded, _ = rewritten(network)
    assert operators(folded).count("BatchNorm") == left
    assert far(evaluate(*checkpoint, images()), evaluate(*folded.to_mxnet(), images())) < 2e-5


def test_dropout_that_always_drops_is_kept():
    x = S.Dropout(S.FullyConnected(S.Variable("data"), num_hidden=3, name="fc1"), mode="always", name="noise")
    model = GraphModel.from_mxnet(*filled(S.FullyConnected(x, num_hidden=2, name="fc2")))
    fold.drop_identities(model.graph)
    assert "Dropout" in operators(model)


def depthwise(x, name, **more):
    return conv(x, name, num_group=3, kernel=(3, 3), pad=(1, 1), **more)


def prelu(x, name="act"):
    return S.LeakyReLU(x, act_type="prelu", name=f"{name}_relu")


# name -> (what stands around the PReLU, names of the layers that the split makes)
AROUND = {
    "back": (lambda x: conv(prelu(depthwise(x, "dw")), "next"), {"dw_positive", "dw_linear"}),
    "back, into grouped": (
        lambda x: conv(prelu(depthwise(x, "dw")), "next", num_group=3, num_filter=6, kernel=(3, 3), stride=(2, 2)),
        {"dw_positive", "dw_linear"},
    ),
    "back, into two": (
        lambda x: (lambda y: conv(y, "next") + conv(y, "other"))(prelu(depthwise(x, "dw"))),
        {"dw_positive", "dw_linear"},
    ),
    "ahead": (lambda x: depthwise(prelu(conv(x, "c")), "dw"), {"dw_positive", "dw_linear"}),
    "ahead of two": (
        lambda x: (lambda y: depthwise(y, "dw") + depthwise(y, "other", no_bias=True))(prelu(conv(x, "c"))),
        {"dw_positive", "dw_linear", "other_positive", "other_linear"},
    ),
    "beside: full layers around": (
        lambda x: conv(prelu(conv(x, "c")), "next"),
        {"act_relu_linear", "act_relu_scaled"},
    ),
    "beside: the sign has nowhere to go": (
        lambda x: S.tanh(prelu(depthwise(x, "dw"))),
        {"act_relu_linear", "act_relu_scaled"},
    ),
    "beside: the sign has two ways to go and one is closed": (
        lambda x: (lambda y: conv(y, "next") + y)(prelu(depthwise(x, "dw"))),
        {"act_relu_linear", "act_relu_scaled"},
    ),
    "beside: no layer at all": (lambda x: S.tanh(prelu(x)), {"act_relu_linear", "act_relu_scaled"}),
    "beside: what PReLU reads is read elsewhere": (
        lambda x: (lambda y: conv(prelu(y), "next") + conv(y, "other"))(depthwise(x, "dw")),
        {"act_relu_linear", "act_relu_scaled"},
    ),
}


@pytest.mark.parametrize("case", AROUND)
def test_each_way_to_split(case):
    around, made = AROUND[case]
    x = (S.Variable("data") - 127.5) / 128
    network = S.FullyConnected(around(x), num_hidden=4, name="fc1")
    checkpoint, plain, _, fast = rewritten(network)
    assert (checkpoint[1]["act_relu_gamma"].asnumpy() > 1).any()
    before = {node.name for node in plain.graph.operators()}
    new = {n.name for n in fast.graph.operators() if n.op == "Convolution"} - before
    assert new == made
    assert "LeakyReLU" not in operators(fast)
    assert far(evaluate(*checkpoint, images()), evaluate(*fast.to_mxnet(), images())) < 2e-5


def test_without_slopes_above_one_no_sign_is_needed():
    network = S.FullyConnected(S.tanh(prelu(depthwise(S.Variable("data") / 255, "dw"))), num_hidden=4, name="fc1")
    checkpoint = filled(network)
    checkpoint[1]["act_relu_gamma"][:] = mx.nd.array([-1.2, 0.3, 1.0])
    fast = split.split(cut.cut(GraphModel.from_mxnet(*checkpoint)))
    assert fast.graph.find("dw_positive") is not None
    assert far(evaluate(*checkpoint, images()), evaluate(*fast.to_mxnet(), images())) < 2e-5


def test_one_slope_for_all_channels():
    slope = S.Variable("slope", shape=(1,))
    x = S.LeakyReLU(conv(S.Variable("data") / 255, "c"), gamma=slope, act_type="prelu")
    network = S.FullyConnected(x, num_hidden=4, name="fc1")
    symbol, arg_params, aux_params = filled(network)
    plain = cut.cut(GraphModel.from_mxnet(symbol, arg_params, aux_params))
    fast = split.split(plain)
    assert "LeakyReLU" not in operators(fast)
    reference = evaluate(symbol, arg_params, aux_params, images())
    assert far(reference, evaluate(*plain.to_mxnet(), images())) == 0
    assert far(reference, evaluate(*fast.to_mxnet(), images())) < 2e-5


def test_the_graphs_output_keeps_its_sign():
    network = prelu(depthwise(S.Variable("data") / 255, "dw"), "fc1")
    checkpoint = filled(network)
    fast = split.split(cut.cut(GraphModel.from_mxnet(*checkpoint), "fc1_relu"), (112, 112))
    assert "LeakyReLU" not in operators(fast)
    assert far(evaluate(*checkpoint, images()), evaluate(*fast.to_mxnet(), images())) < 2e-5


def test_a_prelu_on_embeddings_stays():
    network = prelu(S.FullyConnected(S.Variable("data"), num_hidden=4), "fc1")
    model = cut.cut(GraphModel.from_mxnet(*filled(network)), "fc1_relu")
    assert operators(split.split(model)) == ["FullyConnected", "LeakyReLU"]


def test_the_real_network(model_y1):
    from insight import checkpoint

    held = checkpoint.load(*model_y1)
    plain = cut.cut(GraphModel.from_mxnet(*held))
    folded = fold.fold(plain)
    fast = split.split(folded)
    assert not {"BatchNorm", "LeakyReLU"} & set(operators(fast))
    x = images(2)
    reference = evaluate(*held, x)
    for model in (plain, folded, fast):
        assert far(reference, evaluate(*model.to_mxnet(), x)) < 1e-5
