"""MobileFaceNet y1 against InsightFace's graph, and its fast form against its plain one."""

import json

import numpy as np
import pytest

from insight import checkpoint, nets
from insight._mxnet import mx


def graph_of(symbol):
    """What makes a graph: operators, names, attributes and wiring; of variables only the name."""
    return [
        (n["op"], n["name"], n.get("attrs", {}) if n["op"] != "null" else None, n["inputs"])
        for n in json.loads(symbol.tojson())["nodes"]
    ]


def test_size():
    network = nets.create("y1")
    weights = [p for name, p in network.collect_params().items() if name.endswith("_weight")]
    assert sum(int(np.prod(p.shape)) for p in weights) == 976_000  # about 0.98 million at E = 128
    assert network.embedding_size == 128
    assert nets.symbol(network).list_outputs() == ["fc1_output"]


def test_batchnorm_semantics_are_explicit_in_the_graph():
    nodes = {n[1]: n[2] for n in graph_of(nets.symbol(nets.create("y1")))}
    assert nodes["conv_1_batchnorm"] == {"fix_gamma": "False", "momentum": "0.9"}  # eps: the symbol's default, 1e-3
    assert nodes["fc1"] == {"eps": "2e-05", "fix_gamma": "True", "momentum": "0.9"}


def test_graph_is_insightfaces(model_y1):
    theirs = checkpoint.load(*model_y1)
    ours = nets.symbol(nets.create("y1", 128))
    assert graph_of(ours) == graph_of(theirs.symbol)
    assert ours.list_arguments() == theirs.symbol.list_arguments()
    assert ours.list_auxiliary_states() == theirs.symbol.list_auxiliary_states()


def test_checkpoint_of_theirs_loads_by_name(model_y1):
    network = nets.create("y1", 128)
    network.initialize()
    arg_params, aux_params = checkpoint.load_params(*model_y1)
    assert checkpoint.assign(network.kept(), {**arg_params, **aux_params}) == []
    theirs = checkpoint.load(*model_y1)
    x = mx.nd.array(np.random.default_rng(0).uniform(0, 255, (2, 3, 112, 112)))
    executor = theirs.symbol.bind(mx.cpu(), {**arg_params, "data": x}, aux_states=aux_params, grad_req="null")
    np.testing.assert_allclose(network(x).asnumpy(), executor.forward()[0].asnumpy(), rtol=1e-5, atol=1e-5)


def test_fast_form_trains_the_same_network():
    x = mx.nd.array(np.random.default_rng(1).uniform(0, 255, (4, 3, 112, 112)))
    results = []
    for fast in (False, True):
        mx.random.seed(3)
        network = nets.create("y1", 16, fast_prelu=fast)
        network.initialize(mx.init.Xavier())
        network.hybridize(static_alloc=True, static_shape=True)
        with mx.autograd.record():
            out = network(x)
        results.append(out.asnumpy())
        assert sorted(network.kept()) == sorted(nets.create("y1", 16).collect_params().keys())
    np.testing.assert_allclose(results[1], results[0], rtol=1e-3, atol=1e-3)


def test_unknown_name_lists_known():
    from insight.errors import InsightError

    with pytest.raises(InsightError, match="network 'y9' is not known; known: y1"):
        nets.create("y9")
