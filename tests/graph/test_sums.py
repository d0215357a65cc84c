"""Where stages end, in the plain form of a network and in those in which it trains."""

import numpy as np
import pytest
from small_networks import S, filled, mobile, pixels, residual

from insight import nets
from insight._mxnet import mx
from insight.errors import InsightError
from insight.graph.nodes import Graph, GraphModel, Ref
from insight.graph.sums import Stages, last_sums, same_in


def sums_of(symbol, size=(112, 112)):
    found = last_sums(GraphModel.from_mxnet(*filled(symbol, 3)), size)
    return {features: (stage.ref.node.name, stage.channels) for features, stage in found.items()}


def test_the_last_sum_of_each_size():
    x = pixels(S.Variable("data"))
    x = S.Convolution(x, num_filter=4, kernel=(3, 3), stride=(4, 4), pad=(1, 1), name="conv")
    x = S.elemwise_add(x, S.relu(x), name="first")
    x = S.broadcast_add(x, S.sigmoid(x), name="second")
    x = S.Convolution(x, num_filter=6, kernel=(3, 3), stride=(2, 2), pad=(1, 1), name="down")
    x = S.elemwise_add(S.relu(x), x, name="third")
    x = S.FullyConnected(x, num_hidden=3, name="pre")
    symbol = S.elemwise_add(x, S.relu(x), name="fc1")
    assert sums_of(symbol) == {(28, 28): ("second", 4), (14, 14): ("third", 6)}
    assert list(sums_of(symbol)) == [(28, 28), (14, 14)]


def test_small_networks():
    assert [channels for _, channels in sums_of(mobile()).values()] == [4]
    assert [channels for _, channels in sums_of(residual(squeeze=True)).values()] == [6]


@pytest.mark.parametrize("prelu", ["relus", "batchnorms", "batchnorms_apart"])
def test_features_of_the_training_form_are_those_of_the_plain_one(prelu):
    network = nets.create("y1", 8, prelu=prelu)
    network.initialize(mx.init.Xavier())
    stages = Stages(nets.symbol(network), network.image_size)
    assert stages.channels == {(28, 28): 64, (14, 14): 128, (7, 7): 128}
    trained = S.Group(stages.outputs(network(S.Variable("data")), list(stages.channels)))
    plain = nets.symbol(network).get_internals()
    names = [
        stage.ref.node.name
        for stage in last_sums(GraphModel(Graph.from_symbol(nets.symbol(network)), {}), (112, 112)).values()
    ]
    data = mx.nd.array(np.random.default_rng(0).uniform(0, 255, (2, 3, 112, 112)))
    arrays = {name: p.data() for name, p in network.collect_params().items()}
    results = []
    for symbol in (trained, S.Group([plain[f"{name}_output"] for name in names])):
        known = {name: arrays[name] for name in symbol.list_inputs() if name != "data"}
        executor = symbol.bind(mx.cpu(), {**known, "data": data}, aux_states=known, grad_req="null")
        results.append([output.asnumpy() for output in executor.forward(is_train=False)])
    for mine, theirs, (size, channels) in zip(*results, stages.channels.items()):
        assert mine.shape == (2, channels, *size)
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("name", ["r18", "r50", "y2", "r100"])
@pytest.mark.parametrize("prelu", ["fastest_prelu", "fastest_prelu_bfloat16"])
def test_stages_of_networks(name, prelu):
    family = nets.family(name)
    network = nets.create(name, 8, prelu=getattr(family, prelu))
    stages = Stages(nets.symbol(network), network.image_size)
    assert set(stages.channels) >= {(28, 28), (14, 14), (7, 7)}
    symbol = network(S.Variable("data"))
    outputs = S.Group(stages.outputs(symbol, list(stages.channels)))
    _, shapes, _ = outputs.infer_shape(data=(1, 3, 112, 112))
    assert [shape[1:] for shape in shapes] == [(channels, *size) for size, channels in stages.channels.items()]


@pytest.mark.parametrize("name", ["resnet18_v1", "resnet18_v2", "mobilenetv2_0.25"])
def test_stages_of_gluoncvs_networks(name):
    """The sums of some are read by activations only."""
    pytest.importorskip("gluoncv")
    network = nets.create(f"gluoncv:{name}", 8, prelu="relus")
    stages = Stages(nets.symbol(network), network.image_size)
    assert stages.channels
    outputs = S.Group(stages.outputs(network(S.Variable("data")), list(stages.channels)))
    _, shapes, _ = outputs.infer_shape(data=(1, 3, *network.image_size))
    assert [shape[1:] for shape in shapes] == [(channels, *size) for size, channels in stages.channels.items()]


def test_an_edge_behind_an_activation():
    """The same sum is found, not the one beside it; over another operator, none is."""

    def form(activation):
        x = S.Convolution(S.Variable("data"), num_filter=3, kernel=(1, 1), name="first")
        total = x + S.Convolution(x, num_filter=3, kernel=(1, 1), name="second")
        return total, S.Convolution(activation(total), num_filter=2, kernel=(1, 1), name="last")

    (plain, whole), (other, other_whole) = form(S.relu), form(S.relu)
    graph = Graph.from_symbol(whole)
    assert same_in(other_whole, graph, Ref(graph.find(plain.name))).name == other.name != plain.name
    with pytest.raises(InsightError, match="no layer with weights reads"):
        same_in(form(S.sigmoid)[1], graph, Ref(graph.find(plain.name)))


def test_an_edge_that_only_one_form_has():
    x = S.relu(S.Variable("data"), name="inner")
    graph = Graph.from_symbol(S.FullyConnected(x, num_hidden=2, name="last"))
    other = S.FullyConnected(S.Variable("data"), num_hidden=2, name="other")
    with pytest.raises(InsightError, match="no layer with weights reads 'inner' in both forms of the network"):
        same_in(other, graph, graph.find("last").inputs[0])
