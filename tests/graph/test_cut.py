"""What is cut out of a training graph embeds as before, and says what converters would guess wrong."""

import numpy as np
import pytest
from small_networks import S, evaluate, far, filled, images, mobile, pixels, residual, training, unit

from insight.errors import InsightError
from insight.graph import cut, shapes
from insight.graph.nodes import GraphModel


@pytest.fixture(scope="module")
def trained():
    return filled(training(mobile()), softmax_label=(1,))


def test_the_embedding_of_a_training_graph(trained):
    model = cut.cut(GraphModel.from_mxnet(*trained))
    symbol, arg_params, aux_params = model.to_mxnet()
    assert symbol.list_outputs() == ["fc1_output"]
    assert "fc7_weight" not in arg_params
    assert set(symbol.list_arguments()) == {"data", *arg_params}
    assert set(symbol.list_auxiliary_states()) == set(aux_params)
    inner = trained[0].get_internals()["fc1_output"]
    held = {name: trained[1][name] for name in inner.list_arguments() if name != "data"}
    assert far(evaluate(inner, held, trained[2], images()), evaluate(symbol, arg_params, aux_params, images())) == 0


def test_a_slimmed_graph_stays_as_it_is(trained):
    once = cut.cut(GraphModel.from_mxnet(*trained))
    twice = cut.cut(GraphModel.from_mxnet(*once.to_mxnet()))
    assert twice.graph.to_symbol().tojson() == once.graph.to_symbol().tojson()


def test_fix_gamma_is_written_and_its_gammas_are_ones(trained):
    model = cut.cut(GraphModel.from_mxnet(*trained))
    norms = [node for node in model.graph.operators() if node.op == "BatchNorm"]
    assert {node.attrs["fix_gamma"] for node in norms} == {"True", "False"}
    for node in norms:
        fixed = node.attrs["fix_gamma"] == "True"
        assert (model.array(node.inputs[1]) == 1).all() == fixed, node


def test_the_default_of_fix_gamma_is_true():
    symbol = S.BatchNorm(S.FullyConnected(S.Variable("data"), num_hidden=3), name="fc1")
    model = cut.cut(GraphModel.from_mxnet(*filled(symbol)))
    assert model.graph.find("fc1").attrs["fix_gamma"] == "True"
    assert (model.params["fc1_gamma"] == 1).all()


def test_a_gamma_that_another_layer_learns_is_kept():
    gamma = S.Variable("shared_gamma")
    x = S.BatchNorm(S.FullyConnected(S.Variable("data"), num_hidden=3), gamma=gamma, fix_gamma=False)
    model = cut.cut(GraphModel.from_mxnet(*filled(S.BatchNorm(x, gamma=gamma, name="fc1"))))
    assert not (model.params["shared_gamma"] == 1).all()


def test_variables_lose_what_only_training_reads():
    symbol = S.FullyConnected(S.Variable("data", shape=(0, 3, 96, 96), lr_mult=2), num_hidden=3, name="fc1")
    model = cut.cut(GraphModel.from_mxnet(*filled(symbol, size=96)))
    variables = {node.name: node.attrs for node in model.graph.variables()}
    assert variables == {"data": {"__shape__": "(0, 3, 96, 96)"}, "fc1_weight": {}, "fc1_bias": {}}


@pytest.mark.parametrize(("shape", "size"), [((0, 3, 96, 96), 96), ((0, 3, 0, 0), 112), (None, 112)])
def test_the_image_size_of_a_network_that_pools_is_what_its_input_says(shape, size):
    x = S.Pooling(
        S.Variable("data", **({"shape": shape} if shape else {})), kernel=(1, 1), global_pool=True, pool_type="avg"
    )
    model = cut.cut(GraphModel.from_mxnet(*filled(S.FullyConnected(x, num_hidden=3, name="fc1"), size=size)))
    assert shapes.image_size(model) == (size, size)


def test_another_layer_is_written_as_fc1(trained):
    model = cut.cut(GraphModel.from_mxnet(*trained), "pre_fc1_output")
    assert model.graph.to_symbol().list_outputs() == ["fc1_output"]
    assert model.graph.find("fc1").op == "FullyConnected"


@pytest.mark.parametrize("kind", ["float16", "float64"])
def test_a_network_of_another_precision_becomes_float32(kind):
    """As InsightFace's --fp16 builds it: float16 between two casts; the arrays are stored so."""

    def cast(x, to):
        return S.Cast(x, dtype=to)

    def network(convert):
        x = convert(pixels(S.Variable("data")), kind)
        x = unit(x, "conv_1", 4, 3, 8, 1)
        x = convert(S.amp_cast(x, dtype=kind) if convert is cast else x, "float32")
        return S.FullyConnected(x, num_hidden=3, name="fc1")

    _, arg_params, aux_params = filled(network(lambda x, _: x))
    stored = [{name: array.astype(kind) for name, array in part.items()} for part in (arg_params, aux_params)]
    model = cut.cut(GraphModel.from_mxnet(network(cast), *stored))
    assert {array.dtype.name for array in model.params.values()} == {"float32"}
    assert not {"Cast", "amp_cast"} & {node.op for node in model.graph.operators()}
    widened = [{name: array.astype("float32") for name, array in part.items()} for part in stored]
    plain = evaluate(network(lambda x, _: x), *widened, images())
    assert far(plain, evaluate(*model.to_mxnet(), images())) < 1e-6


def test_no_such_layer_lists_the_candidates():
    symbol = S.FullyConnected(S.Flatten(S.Variable("data"), name="flat"), num_hidden=3, name="embedding")
    with pytest.raises(InsightError, match="no layer 'fc1'.*candidates: flat, embedding;"):
        cut.cut(GraphModel.from_mxnet(*filled(symbol)))
    with pytest.raises(InsightError, match="is this a face-embedding network"):
        cut.cut(GraphModel.from_mxnet(*filled(S.relu(S.Variable("data")))))


def test_missing_arrays_are_named(trained):
    symbol, arg_params, aux_params = trained
    less = {name: array for name, array in arg_params.items() if "down" not in name}
    with pytest.raises(InsightError, match="lacks down_sep_conv2d_weight, .* and 8 more"):
        cut.cut(GraphModel.from_mxnet(symbol, less, aux_params))


def test_the_input_is_called_data():
    symbol = S.FullyConnected(S.Variable("image"), num_hidden=3, name="fc1")
    arrays = {"fc1_weight": np.zeros((3, 12)), "fc1_bias": np.zeros(3)}
    model = cut.cut(GraphModel(cut.Graph.from_symbol(symbol), arrays))
    assert model.graph.to_symbol().list_arguments() == ["data", "fc1_weight", "fc1_bias"]
    with pytest.raises(InsightError, match="no input"):
        cut.cut(GraphModel(cut.Graph.from_symbol(symbol), {**arrays, "image": np.zeros(1)}))


@pytest.mark.parametrize(("size", "network"), [(112, mobile), (112, residual), (128, residual), (160, residual)])
def test_the_image_size_follows_from_the_weights(size, network):
    model = cut.cut(GraphModel.from_mxnet(*filled(network(), size=size)))
    assert shapes.image_size(model) == (size, size)
    assert shapes.dimension(model, (size, size)) == 6


def test_arrays_of_another_network_are_told():
    symbol, arg_params, aux_params = filled(mobile())
    arg_params["conv_1_conv2d_weight"] = arg_params["conv_1_conv2d_weight"].reshape((4, 27, 1, 1))
    with pytest.raises(InsightError, match="no usual image size fits.*conv_1_conv2d"):
        shapes.image_size(cut.cut(GraphModel.from_mxnet(symbol, arg_params, aux_params)))
