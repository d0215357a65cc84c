"""A symbol read as nodes and built again is the same symbol; rewriting keeps names and leaves copies alone."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import evaluate, far, filled, images, mobile, residual, training

from insight._mxnet import mx
from insight.errors import InsightError
from insight.graph.nodes import Graph, GraphModel, Node, Ref

# What MXNet 0.8 wrote: parameters under "param", "backward_source_id", no version; BatchNorm without its statistics.
OLD = """{
  "nodes": [
    {"op": "null", "param": {}, "name": "data", "inputs": [], "backward_source_id": -1},
    {"op": "null", "param": {}, "name": "w", "inputs": [], "backward_source_id": -1},
    {"op": "null", "param": {}, "name": "b", "inputs": [], "backward_source_id": -1},
    {"op": "FullyConnected", "param": {"no_bias": "False", "num_hidden": "2"}, "name": "fc1",
     "inputs": [[0, 0], [1, 0], [2, 0]], "backward_source_id": -1}
  ],
  "arg_nodes": [0, 1, 2],
  "heads": [[3, 0]]
}"""


def structure(symbol):
    nodes = json.loads(symbol.tojson())["nodes"]
    return [(n["op"], n["name"], n.get("attrs", {}), [edge[:2] for edge in n["inputs"]]) for n in nodes]


@pytest.mark.parametrize("network", [mobile, residual, lambda: training(mobile())])
def test_read_and_built_again_is_the_same(network):
    symbol = network()
    again = Graph.from_symbol(symbol).to_symbol()
    assert structure(again) == structure(symbol)
    assert again.list_outputs() == symbol.list_outputs()
    assert again.list_auxiliary_states() == symbol.list_auxiliary_states()


def test_a_symbol_of_mxnet_0_8_is_read():
    graph = Graph.from_symbol(mx.sym.load_json(OLD))
    assert [(node.op, node.name) for node in graph.nodes()] == [
        ("null", "data"),
        ("null", "w"),
        ("null", "b"),
        ("FullyConnected", "fc1"),
    ]
    assert graph.find("fc1").number("num_hidden") == 2
    assert graph.to_symbol().list_outputs() == ["fc1_output"]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(["elemwise_add", "elemwise_mul"]), st.integers(0, 99), st.integers(0, 99))))
def test_any_graph_survives_the_round_trip(steps):
    refs = [Ref(Node("null", "data")), Ref(Node("null", "other"))]
    for i, (op, left, right) in enumerate(steps):
        refs.append(Ref(Node(op, f"n{i}", {}, [refs[left % len(refs)], refs[right % len(refs)]])))
    symbol = Graph(refs[-2:]).to_symbol()
    assert structure(Graph.from_symbol(symbol).to_symbol()) == structure(symbol)
    assert len(symbol.list_outputs()) == 2


def test_a_graph_may_be_deeper_than_pythons_stack():
    ref = Ref(Node("null", "data"))
    for i in range(3000):
        ref = Ref(Node("_plus_scalar", f"n{i}", {"scalar": "1"}, [ref]))
    assert len(Graph([ref]).nodes()) == 3001


def test_replacing_the_output_keeps_its_name_and_drops_what_is_unused():
    graph = Graph.from_symbol(mobile())
    head = graph.find("fc1")
    graph.replace(Ref(head), head.inputs[0])
    assert graph.to_symbol().list_outputs() == ["fc1_output"]
    assert graph.find("fc1").op == "FullyConnected"
    assert "fc1_beta" not in graph.to_symbol().list_arguments()


def test_consumers_name_node_and_slot():
    graph = Graph.from_symbol(mobile())
    uses = graph.consumers()
    assert [(use.node.name, use.slot) for use in uses[graph.find("conv_1_conv2d")]] == [("conv_1_batchnorm", 0)]
    assert uses[graph.find("fc1")] == []


def test_attributes_are_read_as_mxnet_reads_them():
    node = Node(
        "Convolution", "c", {"kernel": "(3, 3)", "pad": "[1,1]", "stride": "()", "eps": "2e-05", "no_bias": "1"}
    )
    assert node.shape("kernel") == (3, 3)
    assert node.shape("pad") == (1, 1)
    assert node.shape("stride", (1, 1)) == (1, 1)
    assert node.number("eps", 1e-3) == 2e-5
    assert node.number("momentum", 0.9) == 0.9
    assert node.flag("no_bias", False)
    assert not Node("", "", {"f": "False"}).flag("f", True)
    with pytest.raises(InsightError, match="attribute axis='x y'"):
        Node("Concat", "c", {"axis": "x y"}).value("axis")


def test_a_copy_can_be_rewritten_alone():
    model = GraphModel.from_mxnet(*filled(mobile()))
    twin = model.copy()
    twin.graph.find("conv_1_conv2d").name = "other"
    twin.params["conv_1_conv2d_weight"] = np.zeros(1)
    assert model.graph.find("conv_1_conv2d") is not None
    assert model.params["conv_1_conv2d_weight"].any()


def test_a_model_goes_back_to_mxnet_as_it_came():
    checkpoint = filled(mobile())
    x = images()
    assert far(evaluate(*checkpoint, x), evaluate(*GraphModel.from_mxnet(*checkpoint).to_mxnet(), x)) == 0


def test_a_new_parameter_takes_no_name_that_is_there():
    model = GraphModel.from_mxnet(*filled(mobile()))
    ref = model.add_parameter("fc1_beta", np.zeros(3, np.float32))
    assert ref.node.name == "fc1_beta_1"
    assert model.params["fc1_beta"].shape == (6,)


def test_control_flow_is_refused():
    data = mx.sym.Variable("data")
    _, states = mx.sym.contrib.foreach(lambda x, s: (x + s, x + s), data, mx.sym.zeros((1,)))
    with pytest.raises(InsightError, match="control flow"):
        Graph.from_symbol(states)
